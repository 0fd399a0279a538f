# Two images: `serve` has the packages of `churnops serve` and `churnops keys`, `full` those of all commands and extras.
#     docker build --target serve --tag churnops-serve .
#     docker build --target full --tag churnops .
# BASE has Python 3.11 with its module venv. Machine code is compiled for CPU: x86-64-v3 has AVX2, which Polars needs too.
# On other processors, such as those of ARM: --build-arg CPU=generic. docs/install.md has more about the images.
ARG BASE=python:3.11-slim-bookworm
ARG CPU=x86-64-v3

FROM ${BASE} AS build-serve
WORKDIR /build
# The environment that is kept has no pip: the builder's pip installs into it.
RUN python3 -m venv /pip && python3 -m venv --without-pip /opt/churnops
ARG CPU
ENV NUMBA_CACHE_DIR=/opt/churnops/kernels NUMBA_CPU_NAME=${CPU} PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_CACHE_DIR=/var/cache/pip
COPY requirements-serve.txt ./
# The secret is a pip.conf, for builders that reach packages through a mirror.
RUN --mount=type=cache,target=/var/cache/pip --mount=type=secret,id=pip,target=/etc/pip.conf \
    /pip/bin/pip --python /opt/churnops/bin/python install --require-hashes -r requirements-serve.txt
COPY . ./
RUN /pip/bin/pip --python /opt/churnops/bin/python install --no-index --no-deps --no-build-isolation . && \
    /opt/churnops/bin/churnops warm

FROM build-serve AS build-full
RUN --mount=type=cache,target=/var/cache/pip --mount=type=secret,id=pip,target=/etc/pip.conf \
    /pip/bin/pip --python /opt/churnops/bin/python install --require-hashes -r requirements.txt

FROM ${BASE} AS runtime
LABEL org.opencontainers.image.title="churnops" \
      org.opencontainers.image.description="Keeps a trustworthy churn model in production" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
ARG CPU
ENV PATH=/opt/churnops/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/tmp/churnops-kernels NUMBA_CPU_NAME=${CPU}
COPY deploy/image/entrypoint /usr/local/bin/entrypoint
# The project. This folder and /tmp are the only ones that need to be writable.
RUN install -d -o 10001 -g 10001 /srv/churn
WORKDIR /srv/churn
USER 10001:10001
ENTRYPOINT ["/usr/local/bin/entrypoint"]

FROM runtime AS serve
COPY --from=build-serve /opt/churnops /opt/churnops
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
CMD ["churnops", "serve", "--host", "0.0.0.0"]

FROM runtime AS full
COPY --from=build-full /opt/churnops /opt/churnops
CMD ["churnops", "--help"]
