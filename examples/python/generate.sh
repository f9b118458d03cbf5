#!/bin/sh
# The stubs, from the proto files into gen/: PYTHON=… names another interpreter.
set -eu
cd "$(dirname "$0")"
mkdir -p gen
# shellcheck disable=SC2046 # no file name of ours has a space
exec "${PYTHON:-python3}" -m grpc_tools.protoc -I ../../proto --python_out=gen --pyi_out=gen --grpc_python_out=gen \
  $(find ../../proto/easemob -name '*.proto')
