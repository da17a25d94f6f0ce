# The modules of go.work. ./... in a workspace covers one of them only, so each
# target below goes through them one by one.
MODULES = $(shell go list -m -f '{{.Dir}}')

BIN  := .bin
LINT := $(BIN)/golangci-lint

# One rule for every target that runs a command in each module: all modules are
# gone through, and the first failure is remembered.
each = @status=0; for dir in $(MODULES); do \
	echo "== .$${dir\#$(CURDIR)}: $(notdir $(firstword $(1))) $(wordlist 2,9,$(1))"; \
	(cd "$$dir" && $(1)) || status=1; \
	done; exit $$status

.PHONY: help test lint fmt generate bench soak shop

help: ## print this list
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' $(MAKEFILE_LIST)

test: ## run every test under the race detector (installs what is missing)
	@./test.sh

lint: $(LINT) ## run the linters of .golangci.yml over every module
	$(call each,$(CURDIR)/$(LINT) run ./...)

fmt: $(LINT) ## format every Go file
	@$(LINT) fmt

# The pinned linter. It is a module of its own outside the workspace, so that
# what it needs never chooses a version that the code is built with.
$(LINT): tools/go.mod tools/go.sum
	@echo "== building golangci-lint; the first time takes two minutes"
	@mkdir -p $(BIN)
	cd tools && GOWORK=off CGO_ENABLED=0 go build -o ../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@touch $@

# Generated files are committed: a run that changes one fails, and the files it
# leaves are the ones to commit.
generate: ## run go generate; fails if that changed a file
	@state() { git status --porcelain && git diff | cksum; }; \
	before=$$(state); \
	for dir in $(MODULES); do (cd "$$dir" && go generate ./...) || exit 1; done; \
	test "$$before" = "$$(state)" || { echo "generated files have changed: commit them"; git status --short; exit 1; }

shop: ## run an example shop: three services and a coordinator, until Ctrl-C
	@sh examples/shop/run.sh

bench: ## print throughput and latency beside what the machine can do at best
	cd bench && go test -run '^$$' -bench . -benchmem -timeout 1h ./...

# How long the long tests go on. IMAGES is how many states of a crashed disk a log
# is opened on; HOURS for how long larger worlds are walked and processes killed. The
# tests read the two from their environment; either may be empty.
IMAGES ?= 1000000
HOURS ?=

soak: export DTC_CRASH_IMAGES = $(IMAGES)
soak: export DTC_SOAK_HOURS = $(HOURS)
soak: export DTC_CHAOS = $(if $(HOURS),$(HOURS)h,10m)
soak: ## open IMAGES=n crashed disks, kill recovery at every step, walk worlds for HOURS=n
	@status=0; \
	go test -count=1 -timeout 0 -v -run 'Kill|TestCrash|Checkpoint|Thousand' . ./wal || status=1; \
	go test -count=1 -timeout 0 -v ./internal/explore/... || status=1; \
	(cd test && go test -count=1 -timeout 0 -v ./...) || status=1; \
	exit $$status
