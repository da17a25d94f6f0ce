#!/bin/sh
# Places three orders with curl, and shows before and after what the services hold.
# It needs the addresses that run.sh prints; the defaults are its defaults.
set -eu

dtc=${DTC:-http://127.0.0.1:7420}
inventory=${INVENTORY:-http://127.0.0.1:7421}
payment=${PAYMENT:-http://127.0.0.1:7422}
orders=${ORDERS:-http://127.0.0.1:7423}
number=$(date +%m%d%H%M%S)-$$ # a new order has a new id

answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
trap 'exit 1' HUP INT TERM

# field NAME prints the first text of that name in the answer, and nothing for null.
field() { tr -d '\n' <"$answer" | grep -o "\"$1\": *\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }

look() {
	for address in "$inventory/stock" "$payment/cards" "$orders/orders"; do
		curl -fsS "$address" | sed 's/^/   /'
	done
}

# order ID CUSTOMER QUANTITY ITEM AMOUNT EXPECTED sends one order, and again if there is
# no answer: with the same id that does nothing twice. Its three parts go to the
# coordinator in one request, and the answer is about all three.
order() {
	echo
	echo "$1: $2 orders $3 $4 for $5 cents"
	tries=0
	until curl -sS "$dtc/v1/transactions" -H 'Content-Type: application/json' -o "$answer" -d '{
		"id": "'"$1"'",
		"branches": [
			{"participant": "inventory", "payload": {"item": "'"$4"'", "quantity": '"$3"'}},
			{"participant": "payment",   "payload": {"customer": "'"$2"'", "amount": '"$5"'}},
			{"participant": "orders",    "payload": {"customer": "'"$2"'", "item": "'"$4"'", "quantity": '"$3"', "amount": '"$5"'}}
		]}'; do
		tries=$((tries + 1))
		[ "$tries" -lt 60 ] || exit 1
		echo "   no answer, so it is sent again"
		sleep 1
	done
	outcome=$(field outcome)
	case $outcome in
	committed) echo "   committed: in all three services" ;;
	rolled_back) echo "   rolled_back: in all three services, because $(field participant) said: $(field message)" ;;
	*)
		echo "   no outcome:"
		cat "$answer"
		;;
	esac
	if [ "$outcome" != "$6" ]; then
		echo "   that is not what this order is here to show: $6" >&2
		exit 1
	fi
	ended "$1"
}

# ended ID waits until the transaction is finished everywhere. A shop would not: it
# has its answer already.
ended() {
	tries=0
	until curl -fs "$dtc/v1/transactions/$1" -o "$answer" && [ -n "$(field ended)" ]; do
		tries=$((tries + 1))
		if [ "$tries" -gt 600 ]; then
			echo "   it is not finished everywhere after a minute:"
			cat "$answer"
			exit 1
		fi >&2
		sleep 0.1
	done
}

echo "Before:"
look
order "order-$number-1" alice 2 keyboard 5000 committed
order "order-$number-2" alice 5 lamp 10000 rolled_back
order "order-$number-3" bob 1 keyboard 2500 rolled_back
echo
echo "After:"
look
