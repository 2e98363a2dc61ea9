# Everything is done by the go tool; this file names it. "make" alone lists the targets.

GO      ?= go
PREFIX  ?= /usr/local
DESTDIR ?=
GOLANGCI_LINT ?= $(shell $(GO) env GOPATH)/bin/golangci-lint
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)

# libvirt is found at run time (dlopen): neither its headers nor the library are needed to build. Calling
# it takes cgo; without a C compiler that rung is left out, and everything else works.
HAVE_CC := $(shell command -v $$($(GO) env CC) 2>/dev/null)
CGO     := $(if $(HAVE_CC),1,0)
TAGS    := libvirt_dlopen
CLI     := github.com/scaph/scaph/internal/cli
LDFLAGS := -s -w $(if $(VERSION),-X $(CLI).version=$(VERSION)) $(if $(REVISION),-X $(CLI).revision=$(REVISION))

.DEFAULT_GOAL := help
.PHONY: help demo build test lab accuracy bench lint docs fmt install clean setup

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## see it work on simulated power, on any machine
	bin/scaph-host demo

build: ## build bin/scaph-host and bin/scaph-guest (static)
	$(if $(HAVE_CC),,@echo 'no C compiler: scaph-host is built without the libvirt rung')
	CGO_ENABLED=$(CGO) $(GO) build -trimpath -tags '$(TAGS)' -ldflags '$(LDFLAGS)' -o bin/scaph-host ./cmd/scaph-host
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/scaph-guest ./cmd/scaph-guest

# What the tests take from the system is installed where that is possible.
setup:
	@if [ "$$(id -u)" = 0 ]; then test/lab/setup >/dev/null; fi

UNIT_TESTS = -race -tags $(TAGS) ./...
LAB_TESTS  = -count 1 -timeout 40m -tags lab,$(TAGS) ./test/lab

test: build setup ## vet, all tests under the race detector, then the lab (needs root)
	$(GO) vet -tags $(TAGS) ./...
	$(GO) vet -tags lab,$(TAGS) ./test/...
	$(GO) run ./test/tally $(UNIT_TESTS) -- $(LAB_TESTS)

lab: build setup ## the lab alone: real libvirtd, qemu, guests, Prometheus (needs root)
	$(GO) run ./test/tally $(LAB_TESTS)

accuracy: build ## the closed loop: hidden power law, product, judge; prints a table
	$(GO) run ./test/accuracy

bench: build ## budgets, beside a plain scan of the same processes; Go benchmarks for benchstat (needs root)
	$(GO) run ./test/bench

lint: ## formatting and the chosen linters
	@test -x '$(GOLANGCI_LINT)' || { echo 'golangci-lint is missing: go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0'; exit 1; }
	$(GOLANGCI_LINT) run

docs: ## write the pages that are made from the program
	$(GO) test -count 1 -run TestReference ./internal/export/prometheus -update

fmt: ## format the source
	gofmt -w cmd internal test

install: build ## install binaries and example configurations under PREFIX
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/share/doc/scaph'
	install -m 755 bin/scaph-host bin/scaph-guest '$(DESTDIR)$(PREFIX)/bin'
	install -m 644 configs/scaph-host.yaml configs/scaph-guest.yaml LICENSE '$(DESTDIR)$(PREFIX)/share/doc/scaph'

clean: ## remove what was built
	rm -rf bin dist
