# Everything is done by the go tool; this file names it. "make" alone lists the targets.

GO      ?= go
PREFIX  ?= /usr/local
DESTDIR ?=
# Tools that are not part of the program have their versions here, not in go.mod: its "tool" lines would have some 200
# modules that only the linter needs decide on the versions of ours.
GOLANGCI_LINT_VERSION = 2.15.0
GOLANGCI_LINT ?= $(shell $(GO) env GOPATH)/bin/golangci-lint
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)

# libvirt is found at run time (dlopen): neither its headers nor the library are needed to build. Calling
# it takes cgo; without a C compiler that rung is left out, and everything else works.
# It is looked for when it is used: "make test" installs one.
HAVE_CC  = $(shell command -v $$($(GO) env CC) 2>/dev/null)
CGO      = $(if $(HAVE_CC),1,0)
TAGS    := libvirt_dlopen
# Nobody scrapes a guest over HTTP/2; without it the agent is 370 kB smaller.
GUEST_TAGS := nethttpomithttp2
# What is not ours is not worth inlining: 900 kB less.
GUEST_GCFLAGS := $(foreach theirs,crypto/... net/... github.com/... golang.org/... google.golang.org/... go.yaml.in/...,-gcflags='$(theirs)=-l') \
	-gcflags='github.com/scaph/...='
CLI     := github.com/scaph/scaph/internal/cli
LDFLAGS := -s -w $(if $(VERSION),-X $(CLI).version=$(VERSION)) $(if $(REVISION),-X $(CLI).revision=$(REVISION))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo build size quick test lab accuracy bench lint docs fmt install clean setup tools

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## see it work on simulated power, on any machine
	bin/scaph-host demo

build: ## build bin/scaph-host and bin/scaph-guest (static)
	$(if $(HAVE_CC),,@echo 'no C compiler: scaph-host is built without the libvirt rung')
	CGO_ENABLED=$(CGO) $(GO) build -trimpath -tags '$(TAGS)' -ldflags '$(LDFLAGS)' -o bin/scaph-host ./cmd/scaph-host
	CGO_ENABLED=0 $(GO) build -trimpath -tags $(GUEST_TAGS) $(GUEST_GCFLAGS) -ldflags '$(LDFLAGS)' -o bin/scaph-guest ./cmd/scaph-guest

# Guests have little room: this bounds what the agent may import.
GUEST_BYTES = 15000000

size: build ## hold bin/scaph-guest to its size
	@bytes=$$(stat -c %s bin/scaph-guest); echo "bin/scaph-guest: $$bytes bytes, at most $(GUEST_BYTES)"; test $$bytes -le $(GUEST_BYTES)

quick: ## formatting, vet, and the tests that need neither root nor network, in half a minute
	@unformatted=$$(gofmt -l cmd internal test); test -z "$$unformatted" || { echo "not formatted (make fmt): $$unformatted"; exit 1; }
	CGO_ENABLED=$(CGO) $(GO) vet -tags $(TAGS) ./...
	TEST_RIGHTS=none CGO_ENABLED=$(CGO) $(GO) run ./test/tally -tags $(TAGS) ./...

# What the tests take from outside is installed; with INSTALL=no it is only listed. Where it was installed, every test
# is promised to run, and fails where it cannot (test/rights). Without that promise a result is not taken from the
# cache: something may have been installed since.
export INSTALL ?= yes
PROMISE    = $(if $(filter no,$(INSTALL)),-count 1,)
TESTING    = $(if $(filter no,$(INSTALL)),,TEST_RIGHTS=all) $(GO) run ./test/tally
# The race detector has nothing to find in what is pure, and makes a million ticks of the ledger take a minute longer.
PURE       = github.com/scaph/scaph/internal/energy github.com/scaph/scaph/internal/ledger
# What takes longest begins first, and the others run beside it.
FIRST      = github.com/scaph/scaph/test/systemd
# The closed loop is judged in real time, so nothing runs beside it.
ALONE      = github.com/scaph/scaph/test/accuracy
OTHERS     = $(filter-out $(PURE) $(FIRST) $(ALONE),$(shell $(GO) list ./...))
UNIT_TESTS = $(if $(HAVE_CC),-race) $(PROMISE) -tags $(TAGS) $(FIRST) $(OTHERS) -- $(PROMISE) $(PURE) \
	-- $(PROMISE) -tags $(TAGS) $(ALONE)
LAB_TESTS  = -count 1 -timeout 40m -tags lab,$(TAGS) ./test/lab

setup: ## install what the tests need, having said what (needs root); INSTALL=no lists what is missing
	test/setup

test: setup size ## all: vet, tests under the race detector, the lab (needs root; INSTALL=no runs what can be run)
	CGO_ENABLED=$(CGO) $(GO) vet -tags $(TAGS) ./...
	CGO_ENABLED=$(CGO) $(GO) vet -tags lab,$(TAGS) ./test/...
	CGO_ENABLED=$(CGO) $(TESTING) $(UNIT_TESTS) -- $(LAB_TESTS)

lab: setup build ## the lab alone: real libvirtd, qemu, guests, Prometheus (needs root)
	$(TESTING) $(LAB_TESTS)

accuracy: build ## the closed loop: hidden power law, product, judge; prints a table
	$(GO) run ./test/accuracy

bench: build ## budgets, beside a plain scan of the same processes; Go benchmarks for benchstat (needs root)
	$(GO) run ./test/bench

tools: ## build the linter, in the version that is used here
	@'$(GOLANGCI_LINT)' version 2>/dev/null | grep -qwF 'version $(GOLANGCI_LINT_VERSION)' || { set -x; \
		$(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(GOLANGCI_LINT_VERSION); }

lint: tools ## formatting and the chosen linters
	$(GOLANGCI_LINT) run

docs: ## write the pages that are made from the program
	$(GO) test -count 1 -run TestReference ./internal/series -update

fmt: ## format the source
	gofmt -w cmd internal test

install: build ## install binaries and example configurations under PREFIX
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/share/doc/scaph'
	install -m 755 bin/scaph-host bin/scaph-guest '$(DESTDIR)$(PREFIX)/bin'
	install -m 644 configs/scaph-host.yaml configs/scaph-guest.yaml LICENSE '$(DESTDIR)$(PREFIX)/share/doc/scaph'

clean: ## remove what was built
	rm -rf bin dist
