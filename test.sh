#!/bin/sh
# Runs every test of the repository. It needs Go and a shell to start; what else
# the tests need it installs from Debian's packages, as root or with sudo, or
# says what is missing and stops. Arguments go to `go test`: ./test.sh -short
#
# Everything is run even if something fails; the last line is the verdict. A green run
# without arguments writes what it has counted into docs/testing.md.
set -u

cd -- "$(dirname -- "$0")" || exit 1
root=$(pwd -P)
start=$(date +%s)

command -v go >/dev/null || {
	echo "FAILED: go is not in PATH; dtc needs the Go of go.work or a later one" >&2
	exit 1
}
export GOWORK="$root/go.work"
export CGO_ENABLED=1 # the race detector is linked by the C compiler
export GOGC="${GOGC:-400}"  # small heaps that are renewed all the time: half the work
# A process under the race detector sleeps for a second before it exits, and there are hundreds.
export GORACE="${GORACE:-atexit_sleep_ms=0}"
timeout=${DTC_TEST_TIMEOUT:-15m}
unset DTC_SKIP_DATABASES # for who runs one package: a verdict without the databases would be none

# The race detector is for our own code: SQLite, which is translated C, takes three times
# as long under it, and no goroutines are in it.
race='-race -gcflags=modernc.org/...=-race=false'

# ---- what the tests need ----

has() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }

has_compiler() { printf '#include <stdlib.h>\n' | $(go env CC) -E - >/dev/null 2>&1; }

has_postgres() {
	has postgres && return # else Debian's place, which is not in PATH
	for f in /usr/lib/postgresql/*/bin/postgres; do [ -x "$f" ] && return; done
	return 1
}

has_roots() { # certificates: without them no module can be downloaded
	for f in "${SSL_CERT_FILE:-}" /etc/ssl/certs/* /etc/ssl/cert.pem /etc/pki/tls/certs/*; do
		[ -e "$f" ] && return
	done
	return 1
}

# missing prints the Debian packages that are still needed.
missing() {
	has_compiler || echo gcc libc6-dev
	has_postgres || echo postgresql
	has mariadbd || echo mariadb-server
	has pgbouncer || echo pgbouncer
	has make || echo make # for `make lint`
	has curl || echo curl
	has python3 || echo python3
	has node || echo nodejs
	has_roots || echo ca-certificates
}

# install installs the packages "$@". The tests make databases of their own, so
# Debian's main cluster is not wanted: where PostgreSQL was never configured its
# creation is switched off until the packages are in.
install() {
	as_root=
	if [ "$(id -u)" -ne 0 ]; then
		as_root='sudo -n'
		$as_root true 2>/dev/null || return 1
	fi
	has apt-get || return 1
	$as_root env DEBIAN_FRONTEND=noninteractive sh -euc '
		if [ ! -e /etc/postgresql-common ]; then
			own=/etc/postgresql-common/createcluster.d/dtc-tests.conf
			mkdir -p "${own%/*}"
			echo "create_main_cluster = false" >"$own"
			trap "rm -f $own" EXIT
			trap "exit 1" HUP INT TERM
		fi
		apt-get -qq -o DPkg::Lock::Timeout=300 update
		apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
			install -y --no-install-recommends "$@"
	' install "$@" </dev/null
}

# welcome prints the packages without which some tests are skipped. Root mounts
# without the help of fusermount. Partitions are made of network namespaces.
welcome() {
	[ ! -e /dev/fuse ] || [ "$(id -u)" -eq 0 ] || has fusermount3 || echo fuse3
	has nft || echo nftables
	has ip || echo iproute2
}

want=$(welcome | xargs)
if [ -n "$want" ]; then
	echo "== installing: $want"
	# shellcheck disable=SC2086 # a list of names
	install $want || echo "not installed: $want; what needs it is skipped"
fi
need=$(missing | xargs)
if [ -n "$need" ]; then
	echo "== installing: $need"
	# shellcheck disable=SC2086 # a list of names
	install $need
	need=$(missing | xargs)
fi
if [ -n "$need" ]; then
	echo "The tests need these Debian packages, and they could not be installed: $need" >&2
	echo "Install them with:" >&2
	echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends $need" >&2
	echo "FAILED: missing packages: $need"
	exit 1
fi

# ---- how the tests are run ----

tmp=$(mktemp -d) || exit 1
# What the tests have done is counted here; see internal/tally.
DTC_TALLY=$(mktemp -d) || exit 1
export DTC_TALLY
lanes=
stop() { # what was started does not outlive this script
	for pid in $lanes $(cat "$tmp"/*.pid 2>/dev/null); do kill "$pid" 2>/dev/null; done
	rm -rf "$tmp" "$DTC_TALLY"
}
trap stop EXIT
trap 'exit 1' HUP INT TERM

# phase NAME DIR ARGS… runs go test in DIR, and keeps what it says and how it ended until
# all that stands before it in $phases has been printed.
phase() {
	name=$1 dir=$2
	shift 2
	[ -d "$tmp" ] || exit 1 # stopped
	began=$(date +%s)
	echo "== $name: go test $*" >"$tmp/$name.out"
	# vet is left to `make lint`, which has it among its linters.
	(cd -- "$dir" && exec $nice go test -vet=off -timeout "$timeout" "$@") </dev/null >>"$tmp/$name.out" 2>&1 &
	echo $! >"$tmp/$name.pid"
	if wait $!; then verdict=ok; else verdict=FAILED; fi
	[ -d "$tmp" ] || exit 1
	rm "$tmp/$name.pid"
	echo "$verdict in $(($(date +%s) - began)) s" >"$tmp/$name.part"
	mv "$tmp/$name.part" "$tmp/$name.verdict"
}

# show NAME LANE waits for a phase of a lane, and prints what it has said. Of what was run
# with -v and is well only the tests' own words are worth reading.
show() {
	while [ ! -e "$tmp/$1.verdict" ]; do
		kill -0 "$2" 2>/dev/null || [ -e "$tmp/$1.verdict" ] || echo "FAILED: it was not run" >"$tmp/$1.verdict"
		sleep 1
	done
	read -r verdict <"$tmp/$1.verdict"
	case $verdict in
	ok*) grep -v -e '^=== ' -e '^ *--- PASS' "$tmp/$1.out" ;;
	*)
		cat "$tmp/$1.out"
		failed="$failed, $1"
		;;
	esac
	echo "== $1: $verdict"
	runs=$((runs + 1))
}

# ---- what is run ----

# The tests that start dtc itself are run under the race detector, and share one build.
echo "== building dtc"
DTC_TEST_BINARY=$tmp/dtc
# shellcheck disable=SC2086 # words
(cd cmd/dtc && go build $race -o "$DTC_TEST_BINARY" .) || exit 1
export DTC_TEST_BINARY

# What works more than it waits gives way to what waits: clients and participants whose
# processes are killed have deadlines, and too little happens if they find no processor.
# So this is run with a low priority, and beside the rest.
working() {
	nice='nice -n 19'

	# All modules of the workspace at once, under the race detector: it keeps all
	# processors busy. What has a phase of its own is not run twice, nor is the detector of
	# use where one goroutine walks (explore), or moves at a time (sim, simdb), or where a
	# test of the log has one: these come below. Fewer disks are crashed.
	# shellcheck disable=SC2046,SC2086 # paths of packages have no spaces
	phase tests . $race -skip '^(TestKillAtEveryPoint|TestCheckpointsMeanTheSame|TestBitFlips.*|TestTruncation)$' "$@" \
		$(go list work | grep -v -e '/internal/explore$' -e '/internal/sim$' -e '/internal/sim/simdb$' -e '/test/sim$' \
			-e '/test/chaos$' -e '/test/disk$' -e '/test/failpoint$' -e '/test/procfaults$' \
			-e '/test/kill$' -e '/test/guard$' -e '/test/http$' -e '/examples/participants$' -e '/examples/shop$' -e '/examples/transfer$' \
			-e '/test/mysql$' -e '/test/postgres$' -e '/test/transfer$' -e 'dtc/cmd/dtc$')

	# Without the race detector: the log is opened on 30,000 crashed disks, each again
	# after a crash of that opening. Beside it a coordinator is killed at every step.
	(
		phase steps . -count=1 -v -run 'TestKillAtEveryPoint' "$@" .
		export DTC_CRASH_IMAGES=30000
		phase images . -count=1 -v "$@" ./wal
	) &
	# The explorer takes larger worlds, and compares them with those that it need not walk.
	phase explorer . -count=1 -v "$@" ./internal/explore
	# With the tag canary bugs are planted, and each must be found: by tests of all
	# packages, each in a process of its own.
	phase canaries . -count=1 -v -tags canary -run 'TestCanaries|TestControl|TestEveryBug' "$@" . ./internal/canary/suite
	wait

	# Seeds of the simulator, in a process for each processor.
	phase simulator . -count=1 -v "$@" ./internal/sim ./internal/sim/simdb ./test/sim
}

# What waits more than it works, one after the other: each of them wants to find a processor
# when it needs one. A server and its participants are killed and stopped all the time,
# behind networks that lose, repeat and delay. Processes have worse done to them, and are
# killed at named steps and at random. Then disks really fail and are full, where the
# machine lets them be mounted; what it did not allow is counted in the verdict.
# shellcheck disable=SC2086 # words
waiting() {
	nice=
	phase storm test $race -count=1 -v "$@" ./chaos
	phase procfaults test $race -count=1 -v "$@" ./procfaults
	nice='nice -n 10' # these work more, and have more time
	phase failpoints test -count=1 -v "$@" ./failpoint
	phase kills test -count=1 -v "$@" ./kill
	phase disks test $race -count=1 -v "$@" ./disk
}

# The command itself, and participants on real databases and in other languages, do both.
# shellcheck disable=SC2086 # words
serving() {
	nice='nice -n 19'
	phase servers . $race "$@" ./cmd/dtc ./test/guard ./test/mysql ./test/postgres ./test/http ./examples/participants ./examples/shop ./examples/transfer ./test/transfer
}

working "$@" &
lane1=$!
waiting "$@" &
lane2=$!
serving "$@" &
lane3=$!
lanes="$lane1 $lane2 $lane3"

failed=
runs=0
for p in tests steps images explorer canaries simulator; do show $p $lane1; done
for p in storm procfaults failpoints kills disks; do show $p $lane2; done
show servers $lane3
wait
skipped=$(cat "$tmp"/*.out | grep -c 'SKIPPED:')

if [ -z "$failed" ] && [ $# -eq 0 ]; then
	go run ./internal/tally/table -dir "$DTC_TALLY" -doc docs/testing.md || failed=', counts'
fi
counts=$(cat "$DTC_TALLY"/*.json 2>/dev/null | wc -l | xargs)
took=$(($(date +%s) - start))
if [ -n "$failed" ]; then
	echo "FAILED: ${failed#, } ($runs runs, $took s, $counts counts, $skipped skipped)"
	exit 1
fi
echo "ok: $runs runs, $took s, $counts counts, $skipped skipped"
