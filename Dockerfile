# syntax=docker/dockerfile:1
FROM rust:1-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY README.md README.md
COPY docs docs
COPY migrations migrations
COPY crates crates
COPY fuzz/Cargo.toml fuzz/Cargo.toml
COPY src src
# Shown by greenroom --version --verbose: docker build --build-arg GREENROOM_COMMIT=$(git rev-parse HEAD) .
ARG GREENROOM_COMMIT
# OpenH264 is C++: the program contains libstdc++, so that it runs without the shared library.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    CXXSTDLIB=static=stdc++ RUSTFLAGS="-L native=$(dirname "$(c++ -print-file-name=libstdc++.a)")" \
    cargo build --profile dist --features jemalloc --locked --bin greenroom \
    && ! readelf -d target/dist/greenroom | grep libstdc++ \
    && install -D -s target/dist/greenroom /out/greenroom \
    && mkdir /out/data

# glibc, libgcc and the root certificates; no shell, and a non-root user (65532).
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/greenroom /usr/local/bin/greenroom
COPY --from=build --chown=65532:65532 /out/data /data
# The development keys do not work on a reachable address: create keys with `greenroom credentials create`, or set one in the
# environment.
ENV GREENROOM_LISTEN=0.0.0.0:4600 \
    GREENROOM_DEV_CREDENTIALS=off \
    GREENROOM_DATABASE_URL=sqlite:///data/greenroom.db \
    GREENROOM_METRICS_LISTEN=0.0.0.0:9464
USER 65532:65532
WORKDIR /data
VOLUME ["/data"]
# 4602 serves RTMP, and 4603 RTMPS if there is a certificate. 9464 serves /metrics, for Prometheus only.
EXPOSE 4600 4601/udp 4601 4602 4603 9464
HEALTHCHECK --interval=5s --timeout=3s --start-period=2s --retries=3 CMD ["greenroom", "health"]
ENTRYPOINT ["greenroom"]
