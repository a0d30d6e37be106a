# make run   builds everything and starts it
# make test  runs every test, as root
# make wire  writes what the page must know of the server, after a change of what it tells
.PHONY: run build page test check go-test lab-test browser-test clean bench

export GOFLAGS ?= -trimpath

run: build
	@exec bin/server $(ARGS)

build: packages page
	CGO_ENABLED=0 go build -o bin/ ./server ./sandbox

.PHONY: packages
packages:
	@.ci/packages run

# The page needs Node; without it the server still builds and says so.
page: web/dist/index.html
web/dist/index.html: web/package-lock.json $(shell find web/src web/public web/index.html web/vite.config.ts -type f 2>/dev/null)
	@if command -v npm >/dev/null; then cd web && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build; \
	else echo "Node is missing: the server will have no page (see README)"; fi

test:
	@[ "$$(id -u)" = 0 ] || { echo "The tests make kernel namespaces of every sort: run them as root, sudo make test" >&2; exit 1; }
	@.ci/packages test
	@$(MAKE) --no-print-directory build
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target check-go check-page
	@$(MAKE) --no-print-directory go-test lab-test browser-test

# What needs no privileges: formats, linters, the page's own tests.
check: check-go check-page

wire:
	KABEL_WRITE_OPENAPI=1 go test -count=1 -run TestThePageHasTheServersTypes ./server/httpapi
	cd web && npm run --silent wire

.PHONY: check-go check-page wire
check-go:
	@fmt=$$(gofmt -l server sandbox labs web/*.go); [ -z "$$fmt" ] || { echo "not formatted: $$fmt"; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	go test -run TestThePageHasTheServersTypes ./server/httpapi
check-page: page
	cd web && npm run --silent check && npm test --silent

go-test:
	.ci/go-test

# Every built-in lab on a real kernel, wrong solutions included.
lab-test: build
	bin/server lab test $(ARGS)
	bin/server lab test -variant personal -way button one-namespace reach-the-host
	rm -rf bin/guide && KABEL_WRITE_GUIDE=$(CURDIR)/bin/guide go test -count=1 -run TestGuideExample ./labs
	bin/server lab test -dir bin/guide

browser-test: build
	cd web && npm run --silent test:browser

bench:
	go test -run '^$$' -bench 'Models|Worlds|Read|ModelTwo|Reset|Keystroke|Typed' -benchtime 10x ./sandbox/kernel ./server
	go test -run '^$$' -bench 'Capture|WireToWebsocket|Viewers' -benchtime 1x ./sandbox/kernel ./server
	go test -run '^$$' -bench . ./server/packet/...

clean:
	rm -rf bin web/node_modules web/dist/assets web/dist/index.html
