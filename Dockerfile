# An image that serves exported models over gRPC, and holds every command of the package.
#
#   docker build -t semicml-tf .                                     CPU
#   docker build -t semicml-tf:cuda --build-arg EXTRA=[cuda] .       GPU (run with --gpus all)
#   docker run --rm -p 127.0.0.1:8500:8500 -v "$PWD/models:/models:ro" semicml-tf
#
# The port has neither encryption nor authentication: publish it to this machine only, as above, or behind a proxy.

FROM python:3.11-slim-bookworm AS builder
WORKDIR /source
COPY setup.py pyproject.toml LICENSE ./
COPY semicml_tf/ semicml_tf/
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim-bookworm
ARG EXTRA=
COPY requirements/core.lock /tmp/core.lock
COPY --from=builder /wheels/ /tmp/wheels/
# The lock has hashes. What an EXTRA adds to the lock (CUDA's libraries) is installed without hashes.
RUN pip install --no-cache-dir --require-hashes -r /tmp/core.lock \
 && sed -n 's/^\([^ #]*==[^ ]*\).*/\1/p' /tmp/core.lock > /tmp/versions \
 && pip install --no-cache-dir --constraint /tmp/versions "$(echo /tmp/wheels/semicml_tf-*.whl)${EXTRA}" \
 && rm -r /tmp/wheels /tmp/core.lock /tmp/versions \
 && useradd --create-home --uid 10001 semicml
WORKDIR /app
USER 10001
# TensorFlow uses oneDNN by itself only on processors with AVX-512.
ENV PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=2 TF_ENABLE_ONEDNN_OPTS=1
EXPOSE 8500
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 8500), 3).close()"]
ENTRYPOINT ["python", "-m", "semicml_tf.serving.server"]
CMD ["--models=/models", "--host=0.0.0.0"]
