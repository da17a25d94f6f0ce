#!/bin/sh
# Moves money between a PostgreSQL and a MariaDB that this script starts, private to it,
# without privileges and without a port. Whatever is killed is started again. It needs Go,
# and the servers' programs: postgresql and mariadb-server of Debian.
set -eu

usage() {
	cat <<'END'
usage: run.sh [--once] [--dir DIR]

  --once      kill each of the three a few times, stop everything, look whether the sums
              are right, and exit: with 0 only if they are
  --dir DIR   keep files, logs and pids in DIR (default .transfer in the repository; with
              --once a temporary directory, removed at the end). What is there is gone on
              with
END
}

once= dir=
while [ $# -gt 0 ]; do
	case $1 in
	--once) once=yes ;;
	--dir) dir=${2?--dir needs a directory} && shift ;;
	-h | --help) usage && exit ;;
	*) usage >&2 && exit 2 ;;
	esac
	shift
done

say() { echo "== $*"; }
fail() { # fail WHAT: and shows the ends of the logs
	echo "run.sh: $*" >&2
	tail -n 5 "$dir"/*.log >&2 2>/dev/null || true
	exit 1
}

program() { # program NAME PATTERN…: prints where the newest of a server's programs is
	name=$1
	shift
	for p in "$@"; do [ -x "$p" ] && found=$p; done
	[ -n "${found-}" ] || found=$(command -v "$name") || {
		echo "run.sh: $name is not installed, and the bank needs it (Debian: postgresql, mariadb-server)" >&2
		exit 1
	}
	echo "$found"
}
command -v go >/dev/null || [ -n "${TRANSFER_BIN-}" ] || {
	echo "run.sh: go is not in PATH" >&2
	exit 1
}
initdb=$(program initdb /usr/lib/postgresql/*/bin/initdb)
postgres=$(program postgres /usr/lib/postgresql/*/bin/postgres)
install_db=$(program mariadb-install-db)
mariadbd=$(program mariadbd /usr/sbin/mariadbd)

here=$(cd -- "$(dirname -- "$0")" && pwd -P)
root=${here%/examples/transfer}
temporary=
if [ -z "$dir" ]; then
	if [ -n "$once" ]; then
		dir=$(mktemp -d) temporary=$dir
	else
		dir=$root/.transfer
	fi
fi
mkdir -p "$dir"
dir=$(cd -- "$dir" && pwd -P)

# A server refuses to run as root, which gives each its own account.
as() { # as ACCOUNT: prints what stands before a command that the account is to run
	[ "$(id -u)" -ne 0 ] || echo "setpriv --reuid=$1 --regid=$1 --clear-groups"
}
own() { # own DIR ACCOUNT: makes a directory that nobody else may enter
	mkdir -p "$1"
	chmod 700 "$1"
	[ "$(id -u)" -ne 0 ] || chown "$2" "$1"
}
[ "$(id -u)" -ne 0 ] || chmod a+x "$dir"

# ---- what is run, and run again ----

keepers=
keep() { # keep NAME COMMAND…: runs it in the background, and again whenever it ends
	name=$1
	shift
	: >"$dir/$name.keep" # it is kept as long as this is there
	(
		trap 'exit 0' TERM
		while [ -e "$dir/$name.keep" ]; do
			"$@" >>"$dir/$name.log" 2>&1 &
			echo $! >"$dir/$name.pid"
			wait $! || true
			sleep 0.2 # nothing is gained by haste: a port, a lock may be held for a moment
		done
	) 2>/dev/null & # the shell tells there of who was killed
	keepers="$keepers $!"
}

end() { # end NAME SIGNAL: stops one in an orderly way, and for good, and waits for it
	rm -f "$dir/$1.keep"
	pid=$(cat "$dir/$1.pid" 2>/dev/null) || return 0
	kill "-$2" "$pid" 2>/dev/null || return 0
	for _ in $(seq 300); do
		kill -0 "$pid" 2>/dev/null || return 0
		sleep 0.1
	done
	kill -9 "$pid" 2>/dev/null || true
}

stop() {
	[ -n "$keepers" ] || return 0
	rm -f "$dir"/*.keep
	# shellcheck disable=SC2086 # a list of ids
	kill $keepers 2>/dev/null || true
	end transfer TERM
	end postgres INT # it waits for no client
	end mariadb TERM
	wait
}
leave() {
	status=$?
	trap '' HUP INT TERM
	stop
	[ -z "$temporary" ] || rm -rf -- "$temporary"
	exit "$status"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM

# ---- starting ----

say "building transfer"
mkdir -p "$dir/bin"
if [ -n "${TRANSFER_BIN-}" ]; then # it is built already
	cp "$TRANSFER_BIN" "$dir/bin/transfer"
else
	(cd "$root/examples" && go build -o "$dir/bin/transfer" ./transfer)
fi
own "$dir/postgres" postgres
own "$dir/mariadb" mysql
if [ ! -e "$dir/initialised" ]; then
	say "making an empty PostgreSQL and an empty MariaDB"
	(
		cd "$dir/postgres"
		$(as postgres) "$initdb" -D data -U postgres -A trust --no-locale -E UTF8 >"$dir/postgres.log" 2>&1
	) || fail "initdb failed"
	(
		cd "$dir/mariadb"
		echo 'CREATE DATABASE IF NOT EXISTS bank;' >init.sql
		chmod a+r init.sql
		TMPDIR=$PWD $(as mysql) "$install_db" --no-defaults --datadir="$dir/mariadb/data" --auth-root-authentication-method=normal \
			--skip-test-db --innodb-log-file-size=8M >"$dir/mariadb.log" 2>&1
	) || fail "mariadb-install-db failed"
	: >"$dir/initialised"
fi
# shellcheck disable=SC2046 # what stands before a command is several words
keep postgres $(as postgres) "$postgres" -D "$dir/postgres/data" -k "$dir/postgres" -c listen_addresses= \
	-c max_prepared_transactions=100
# shellcheck disable=SC2046
keep mariadb $(as mysql) "$mariadbd" --no-defaults --datadir="$dir/mariadb/data" --socket="$dir/mariadb/m.sock" \
	--pid-file="$dir/mariadb/m.pid" --tmpdir="$dir/mariadb" --skip-networking --init-file="$dir/mariadb/init.sql" --innodb-flush-log-at-trx-commit=1

at_postgres="postgres://postgres@/postgres?host=$dir/postgres"
at_mariadb="root@unix($dir/mariadb/m.sock)/bank"
transfer() { # transfer FLAG…
	"$dir/bin/transfer" --postgres "$at_postgres" --mariadb "$at_mariadb" --data "$dir/log" "$@"
}
cat >"$dir/check" <<END
#!/bin/sh
exec '$dir/bin/transfer' --postgres '$at_postgres' --mariadb '$at_mariadb' --check
END
: >"$dir/transfer.log"
keep transfer "$dir/bin/transfer" --postgres "$at_postgres" --mariadb "$at_mariadb" --data "$dir/log"

made() { grep -c '^committed' "$dir/transfer.log" || true; }
more() { # more N: waits until so many more transfers are made
	want=$(($(made) + $1))
	for _ in $(seq 1200); do
		[ "$(made)" -lt "$want" ] || return 0
		sleep 0.1
	done
	fail "no transfers are made"
}
more 10
say "transfers are made; logs, pids and files are in $dir"

finish() { # a last run that stops by itself leaves nothing in doubt
	end transfer TERM
	say "what is in doubt is finished"
	transfer --transfers 1 >>"$dir/transfer.log" 2>&1 || fail "it did not end well"
	say "$(made) transfers were told as committed"
	sh "$dir/check"
}

if [ -n "$once" ]; then
	for name in transfer mariadb transfer postgres transfer; do
		more 20
		say "kill -9 $name, after $(made) transfers"
		kill -9 "$(cat "$dir/$name.pid")"
	done
	more 20
	finish
	exit
fi

finished=
trap 'finished=yes' HUP INT TERM # that is how it is stopped
cat <<END || true

== it goes on until Ctrl-C, and starts again what you kill. In another terminal:
   tail -f $dir/transfer.log
   kill -9 \$(cat $dir/transfer.pid)
   kill -9 \$(cat $dir/postgres.pid)
   kill -9 \$(cat $dir/mariadb.pid)
   After Ctrl-C it says whether the sums are right. More: examples/transfer/README.md
END
while [ -z "$finished" ]; do sleep 0.2 || true; done
trap '' HUP INT TERM
echo
finish
