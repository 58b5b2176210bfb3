VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
library := .onnxruntime/libonnxruntime.so.1

export CGO_ENABLED = 1

help: ## lists the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

run: build $(library) ## builds and serves the models in weights/; DENOISED_LISTEN sets the address
	bin/denoised serve --weights weights

build: ## builds bin/denoised
	go build -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/denoised ./cmd/denoised

test: $(library) ## runs all Go tests, the real network included
	go test -race ./...

lint: ## checks the Go code with gofmt, go vet and staticcheck
	@unformatted=$$(gofmt -l .) && test -z "$$unformatted" || { echo "gofmt would change: $$unformatted" >&2; exit 1; }
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

bench: $(library) ## measures the network and the engine
	go test -run '^$$' -bench . ./inference/onnx ./inference

quality: build $(library) ## measures what each sampler makes of the digits: an hour or more of every core, resumable
	weights/training/quality.sh

image: ## builds the container image
	docker build --build-arg VERSION=$(VERSION) -t denoised:$(VERSION) .

clean: ## removes what was built and fetched
	rm -rf bin .onnxruntime

# The script leaves a library with the right checksum alone, so the touch is what tells make that it is up to date.
$(library): deploy/fetch-onnxruntime.sh
	deploy/fetch-onnxruntime.sh $(@D)
	@touch $@

.PHONY: help run build test lint bench quality image clean
