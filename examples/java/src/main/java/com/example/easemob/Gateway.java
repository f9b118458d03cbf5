package com.example.easemob;

import com.google.gson.Gson;
import io.grpc.CallCredentials;
import io.grpc.ChannelCredentials;
import io.grpc.CompositeChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.TlsChannelCredentials;
import java.io.File;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.Executor;

/** The connection to a gateway: TLS, the caller's key, and the service config that retries what is safe. */
final class Gateway {
  private static final Path SERVICE_CONFIG = Path.of("../../proto/easemob/messaging/v1/service_config.json");

  private Gateway() {}

  /** To the gateway that the environment names. */
  static ManagedChannel connect() throws IOException {
    return connect(callerKey());
  }

  /** With this key in place of the one there. */
  static ManagedChannel connect(String key) throws IOException {
    URI url = URI.create(variable("EASEMOB_GATEWAY_URL", "http://127.0.0.1:50051"));
    return Grpc.newChannelBuilder(url.getAuthority(), credentials(url, key))
        .defaultServiceConfig(serviceConfig())
        .build();
  }

  private static ChannelCredentials credentials(URI url, String key) throws IOException {
    if (url.getScheme().equals("http")) {
      return InsecureChannelCredentials.create();
    }
    TlsChannelCredentials.Builder tls = TlsChannelCredentials.newBuilder();
    String authority = variable("EASEMOB_GATEWAY_CA", null);
    if (authority != null) {
      tls.trustManager(new File(authority));
    }
    return key == null ? tls.build() : CompositeChannelCredentials.create(tls.build(), new Key(key));
  }

  @SuppressWarnings("unchecked")
  private static Map<String, ?> serviceConfig() throws IOException {
    return new Gson().fromJson(Files.readString(SERVICE_CONFIG), Map.class);
  }

  private static String callerKey() throws IOException {
    String file = variable("EASEMOB_GATEWAY_KEY_FILE", null);
    return file == null ? variable("EASEMOB_GATEWAY_KEY", null) : Files.readString(Path.of(file)).strip();
  }

  private static String variable(String name, String otherwise) {
    return System.getenv().getOrDefault(name, otherwise);
  }

  /** A caller's key, sent with each call. */
  private static final class Key extends CallCredentials {
    private final Metadata headers = new Metadata();

    Key(String key) {
      headers.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + key);
    }

    @Override
    public void applyRequestMetadata(RequestInfo call, Executor executor, MetadataApplier applier) {
      applier.apply(headers);
    }
  }
}
