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

.PHONY: help test lint fmt generate bench soak seed shop transfer

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

transfer: ## run an example: money between a PostgreSQL and a MariaDB, until Ctrl-C
	@sh examples/transfer/run.sh

bench: ## print throughput and latency beside what the machine can do at best
	cd bench && go test -run '^$$' -bench . -benchmem -timeout 1h ./...

# How long the long tests go on: SEEDS runs of the simulator, IMAGES states of a crashed
# disk on which a log is opened. With HOURS each of the parts that can go on does so for
# that long, one after the other: new seeds, larger worlds of the explorer, processes
# killed at random and at every pair of steps, and the storm. The tests read all this from
# their environment. Counts are summed up at the end, as in docs/testing.md.
SEEDS ?= 100000
IMAGES ?= 1000000
HOURS ?=

long = go test -count=1 -timeout 0 -v

soak: ## run the long tests: SEEDS=n, IMAGES=n, and HOURS=n for each part that has no end
	@status=0; DTC_TALLY=$$(mktemp -d) || exit 1; export DTC_TALLY; \
	part() { echo "== soak: $$1"; shift; env "$$@" || { status=1; echo "== soak: FAILED"; }; }; \
	hours=$(if $(HOURS),DTC_SOAK_HOURS=$(HOURS)); \
	part simulator $${hours:-DTC_SEEDS=$(SEEDS)} $(long) ./test/sim; \
	part 'crash images' DTC_CRASH_IMAGES=$(IMAGES) $(long) ./wal; \
	part 'kills at every step' DTC_CRASH_IMAGES=$(IMAGES) $(long) -run TestKillAtEveryPoint .; \
	part explorer $$hours $(long) ./internal/explore; \
	part canaries $(long) -tags canary -run 'TestCanaries|TestControl|TestEveryBug' . ./internal/explore $(wildcard ./internal/canary/suite); \
	part failpoints $$hours $(long) ./test/failpoint; \
	part 'process faults' $$hours $(long) -race ./test/procfaults; \
	part 'killed processes' $$hours $(long) ./test/kill; \
	part storm DTC_CHAOS=$(if $(HOURS),$(HOURS)h,10m) $(long) -race ./test/chaos; \
	part 'disks and guards' $(long) ./test/disk ./test/guard; \
	part databases DTC_BRANCHES=16000 $(long) -p 1 -run TestGrind ./test/postgres ./test/mysql; \
	part transfers DTC_TRANSFER_KILLS=500 $(long) ./test/transfer; \
	echo "== soak: what was done"; \
	go run ./internal/tally/table -dir "$$DTC_TALLY" || status=1; \
	rm -rf "$$DTC_TALLY"; exit $$status

# One run of the simulator again, with its trace. WITHOUT names classes of faults that it
# is to do without; a failure says which it does not need.
WITHOUT ?=

seed: ## replay one seed of the simulator: SEED=n, and what a failure prints as WITHOUT=…
	@test -n "$(SEED)" || { echo "which? make seed SEED=n"; exit 2; }
	@DTC_SEED=$(SEED) DTC_WITHOUT=$(WITHOUT) go test -count=1 -v -run 'TestSeeds$$' ./test/sim
