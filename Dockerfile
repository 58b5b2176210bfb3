FROM golang:1.26.8-bookworm AS build
ARG VERSION=dev
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/go \
    CGO_ENABLED=1 GOCACHE=/go/cache \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/denoised ./cmd/denoised

FROM node:20.20.2-bookworm-slim AS onnxruntime
COPY deploy/fetch-onnxruntime.sh .
RUN ./fetch-onnxruntime.sh /out

# onnxruntime needs libstdc++, which this image has because apt does: nothing is installed here.
FROM debian:12.12-slim
COPY --from=onnxruntime /out/ /usr/lib/denoised/
COPY --from=build /out/denoised /usr/bin/denoised
COPY weights/digits/ /weights/digits/
COPY weights/photo/ /weights/photo/
ENV ORT_DISABLE_TELEMETRY=1 \
    DENOISED_ONNXRUNTIME=/usr/lib/denoised/libonnxruntime.so.1 \
    DENOISED_LISTEN=:8080 \
    DENOISED_WEIGHTS=/weights
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/bin/denoised"]
CMD ["serve"]
