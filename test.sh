#!/bin/sh
# Runs every test of the repository. It needs Go and a shell to start; what else
# the tests need it installs from Debian's packages, as root or with sudo, or
# says what is missing and stops. Arguments go to `go test`: ./test.sh -short
#
# Everything is run even if something fails; the last line is the verdict.
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
timeout=${DTC_TEST_TIMEOUT:-10m}

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

# ---- the tests ----

failed=
runs=0

# run NAME DIR ARGS… runs go test in DIR and remembers whether it failed.
run() {
	name=$1 dir=$2
	shift 2
	echo "== $name: go test $*"
	began=$(date +%s)
	if (cd -- "$dir" && go test -timeout "$timeout" "$@") </dev/null; then
		verdict=ok
	else
		verdict=FAILED
		failed="$failed, $name"
	fi
	runs=$((runs + 1))
	echo "== $name: $verdict in $(($(date +%s) - began)) s"
}

out=$(mktemp) || exit 1
storm=$(mktemp) || exit 1
trap 'rm -f "$out" "$storm"' EXIT
trap 'exit 1' HUP INT TERM

# All modules of the workspace at once: their packages keep both cores busy. Under the
# race detector fewer processes are killed; all of them come below, and the storm.
kills=${DTC_KILLS:-120}
DTC_KILLS=40
export DTC_KILLS
# shellcheck disable=SC2046 # paths of packages have no spaces
run tests . -race "$@" $(go list work | grep -v '/test/chaos$')
DTC_KILLS=$kills

# Processes are killed at random once more, so that this run says how many it
# killed and what they had begun: the runs above print nothing of it, and go test
# may answer them from its cache.
run kills test -count=1 -v -run 'TestKilledAtRandom' "$@" ./kill

# Disks really fail and are full, where the machine lets them be mounted. What it
# did not allow is counted in the verdict.
run disks test -count=1 -v "$@" ./disk >"$out" 2>&1
cat "$out"

# A server and its participants, killed and stopped all the time, behind networks that
# lose, repeat and delay. It waits more than it works, so it runs beside what follows.
(
	cd -- test && exec go test -race -timeout "$timeout" -count=1 -v "$@" ./chaos
) </dev/null >"$storm" 2>&1 &
chaos=$!

# Without the race detector the log is opened on 50,000 crashed disks, each again after
# a crash of that opening, and the explorer takes larger worlds and compares them with
# those that it need not walk. With the tag canary it must find the bugs that the tag
# puts into the protocol.
DTC_CRASH_IMAGES=50000
export DTC_CRASH_IMAGES
run images-and-explorer . -count=1 -v "$@" ./wal ./internal/explore
run canaries . -count=1 -v -tags canary -run TestCanaries "$@" . ./internal/explore

echo "== storm: go test -race -count=1 -v $* ./chaos"
wait "$chaos" || failed="$failed, storm"
runs=$((runs + 1))
grep -v -e '^=== ' -e '^--- PASS' "$storm"
skipped=$(cat "$out" "$storm" | grep -c 'SKIPPED:')

took=$(($(date +%s) - start))
if [ -n "$failed" ]; then
	echo "FAILED: ${failed#, } ($runs runs, $took s, $skipped skipped)"
	exit 1
fi
echo "ok: $runs runs, $took s, $skipped skipped"
