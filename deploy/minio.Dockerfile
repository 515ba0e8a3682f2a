# MinIO's community edition is published as source: its makers' way to have it is `go install`.
FROM golang:1.26-bookworm AS build
RUN CGO_ENABLED=0 go install -trimpath github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c

# With curl, for the health check and for making the bucket.
FROM buildpack-deps:bookworm-curl
COPY --from=build /go/bin/minio /usr/local/bin/minio
COPY make-bucket.sh /usr/local/bin/make-bucket
RUN mkdir /data && chown 1000:1000 /data && chmod 755 /usr/local/bin/make-bucket
USER 1000
VOLUME /data
EXPOSE 9000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["curl", "--fail", "--silent", "--show-error", "http://127.0.0.1:9000/minio/health/live"]
ENTRYPOINT ["minio"]
CMD ["server", "/data"]
