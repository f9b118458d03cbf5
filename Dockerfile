# The gateway in an image that holds its binary, the C library, the certificate authorities and nothing else. Each
# platform builds on itself (docker buildx build --platform=linux/amd64,linux/arm64): ring and mimalloc are C.
FROM rust:1.95.0-bookworm AS build
# What the pinned release of Debian has.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
# The time of the commit, so that the same sources make the same image, as long as the image above and its packages are the same.
ARG SOURCE_DATE_EPOCH=0
ENV SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH}
RUN tools/image.sh /image

FROM scratch
COPY --from=build /image /
USER 65532:65532
EXPOSE 50051 9090
# Health is asked over gRPC (grpc.health.v1) or HTTP (/livez, /readyz), by Kubernetes' own probes.
ENTRYPOINT ["/usr/bin/easemob-gateway"]
CMD ["--help"]
