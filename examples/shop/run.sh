#!/bin/sh
# Runs the shop on this machine: three services, each with a SQLite file of its own,
# and the coordinator. It plays the storefront once and then leaves everything
# running until Ctrl-C. It needs Go, a POSIX shell and curl.
set -eu

usage() {
	cat <<'END'
usage: run.sh [--once] [--dir DIR] [--port N]

  --once      play the storefront, stop everything, check the three files and exit:
              with 0 only if every order is in all three or in none
  --dir DIR   keep files and logs in DIR (default .shop in the repository; with --once
              a temporary directory, removed at the end). What is there is gone on with
  --port N    the coordinator's port, and the services' are the three after it
              (default 7420; 0 takes free ones)
END
}

once= dir= port=7420
while [ $# -gt 0 ]; do
	case $1 in
	--once) once=yes ;;
	--dir) dir=${2?--dir needs a directory} && shift ;;
	--port) port=${2?--port needs a number} && shift ;;
	-h | --help) usage && exit ;;
	*) usage >&2 && exit 2 ;;
	esac
	shift
done
for tool in go curl; do
	command -v "$tool" >/dev/null || {
		echo "run.sh: $tool is not in PATH, and the shop needs it" >&2
		exit 1
	}
done

# What is set for another coordinator is not meant for this one.
for name in $(env | sed -n 's/^\(DTC_[A-Z0-9_]*\)=.*/\1/p'); do
	unset "$name"
done

here=$(cd -- "$(dirname -- "$0")" && pwd -P)
root=${here%/examples/shop}
temporary=
if [ -z "$dir" ]; then
	if [ -n "$once" ]; then
		dir=$(mktemp -d) temporary=$dir
	else
		dir=$root/.shop
	fi
fi

# ---- stopping: by the ids of the processes that were started here, and no others ----

coordinator= inventory= payment= orders= waiting=

halt() { # halt PID: stops a process and waits for its end
	[ -n "$1" ] || return 0
	kill "$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
}

stop() { # the coordinator first: it has nobody to call afterwards
	halt "$coordinator"
	halt "$inventory"
	halt "$payment"
	halt "$orders"
	halt "$waiting"
	coordinator= inventory= payment= orders= waiting=
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

mkdir -p "$dir/bin"
dir=$(cd -- "$dir" && pwd -P)
if [ -n "${SHOP_BIN-}" ]; then # they are built already
	cp "$SHOP_BIN"/* "$dir/bin/"
else
	echo "== building"
	(cd "$root/examples" && go build -o "$dir/bin/" ./shop/...)
	(cd "$root/cmd/dtc" && go build -o "$dir/bin/dtc" .)
fi

fail() { # fail NAME TEXT
	echo "run.sh: $1 $2; $dir/$1.log ends with:" >&2
	tail -n 5 "$dir/$1.log" >&2
	exit 1
}

# until_file NAME PID FILE waits until a process has written a file.
until_file() {
	tries=0
	until [ -s "$3" ]; do
		kill -0 "$2" 2>/dev/null || fail "$1" "has ended"
		tries=$((tries + 1))
		[ "$tries" -lt 300 ] || fail "$1" "has not started within 30 s"
		sleep 0.1
	done
}

listen() { # listen N: the address of the Nth process
	if [ "$port" -eq 0 ]; then echo 127.0.0.1:0; else echo "127.0.0.1:$((port + $1))"; fi
}

# service NAME N starts a service and sets $pid and $address.
service() {
	rm -f "$dir/$1.address"
	"$dir/bin/$1" --data "$dir/$1.db" --listen "$(listen "$2")" --address-file "$dir/$1.address" \
		>>"$dir/$1.log" 2>&1 &
	pid=$!
	eval "$1=$pid" # stopped whatever happens next
	until_file "$1" "$pid" "$dir/$1.address"
	address=$(cat "$dir/$1.address")
	echo "$pid" >"$dir/$1.pid"
}

service inventory 1
at_inventory=$address
service payment 2
at_payment=$address
service orders 3
at_orders=$address

rm -f "$dir/dtc.says"
"$dir/bin/dtc" serve --data "$dir/dtc" --listen "$(listen 0)" \
	--participant "inventory=http://$at_inventory/dtc" \
	--participant "payment=http://$at_payment/dtc" \
	--participant "orders=http://$at_orders/dtc" \
	>"$dir/dtc.says" 2>>"$dir/dtc.log" &
coordinator=$!
echo "$coordinator" >"$dir/dtc.pid"
until_file dtc "$coordinator" "$dir/dtc.says"
at_dtc=$(grep -o '127\.0\.0\.1:[1-9][0-9]*' "$dir/dtc.says" | head -n 1)
curl -fs --retry 30 --retry-connrefused --retry-delay 1 -o "$dir/ready" "http://$at_dtc/readyz" ||
	fail dtc "is not ready"
rm -f "$dir/ready"

cat <<END
== running; logs, pids and files are in $dir
   dtc        http://$at_dtc  pid $coordinator
   inventory  http://$at_inventory  pid $inventory  GET /stock
   payment    http://$at_payment  pid $payment  GET /cards
   orders     http://$at_orders  pid $orders  GET /orders

== storefront.sh
END
DTC=http://$at_dtc INVENTORY=http://$at_inventory PAYMENT=http://$at_payment ORDERS=http://$at_orders \
	sh "$here/storefront.sh"

if [ -n "$once" ]; then
	stop
	echo
	"$dir/bin/check" "$dir"
	exit
fi

cat <<END

== it goes on running until Ctrl-C. In another terminal:
   curl http://$at_dtc/v1/transactions
   curl http://$at_payment/cards
   $dir/bin/dtc tx list --server http://$at_dtc
   $dir/bin/check $dir
   kill -9 \$(cat $dir/payment.pid)
   $dir/bin/payment --data $dir/payment.db --listen $at_payment
   What to kill, and what to see then: examples/shop/README.md
END
trap 'exit 0' HUP INT TERM # that is how it is stopped
while :; do
	sleep 3600 &
	waiting=$!
	wait "$waiting"
done
