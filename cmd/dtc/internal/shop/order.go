package shop

import (
	"encoding/json"
	"fmt"

	"github.com/dtc-project/dtc"
)

// The ids of the three services.
const (
	Inventory = "inventory"
	Payment   = "payment"
	Orders    = "orders"
)

// Names are the services, in the order in which people are told of them.
var Names = []string{Inventory, Payment, Orders}

// File returns the name of a service's database inside the data directory.
func File(service string) string { return service + ".db" }

// Price of one piece, whatever it is, in cents.
const Price = 25_00

// Order is one order of the shop, and the payload of all its branches.
type Order struct {
	ID       string `json:"id"`
	Customer string `json:"customer"`
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
}

// Amount is what the order costs, in cents.
func (o Order) Amount() int { return o.Quantity * Price }

// TxID is the transaction id of the order: its number, so that an order that is
// sent twice is carried out once.
func (o Order) TxID() dtc.TxID { return dtc.TxID(o.ID) }

// Branches are the parts of the order, one for each service.
func (o Order) Branches() []dtc.Branch {
	payload, err := json.Marshal(o)
	if err != nil {
		panic(err) // text and numbers
	}
	var list []dtc.Branch
	for _, name := range Names {
		list = append(list, dtc.Branch{Participant: name, Payload: payload})
	}
	return list
}

func readOrder(b dtc.Branch) (o Order, err error) {
	if err := json.Unmarshal(b.Payload, &o); err != nil {
		return o, fmt.Errorf("read the order: %w", err)
	}
	if o.ID == "" || o.Quantity <= 0 {
		return o, fmt.Errorf("order %q of %d pieces makes no sense", o.ID, o.Quantity)
	}
	return o, nil
}

// String says what is ordered.
func (o Order) String() string {
	return fmt.Sprintf("%s: %s orders %s for %s", o.ID, o.Customer, o.Goods(), Money(o.Amount()))
}

// Goods is what is ordered, in words.
func (o Order) Goods() string { return Pieces(o.Quantity, o.Item) }

// Pieces counts pieces of an item.
func Pieces(n int, item string) string {
	if n == 1 {
		return fmt.Sprintf("1 %s", item)
	}
	return fmt.Sprintf("%d %ss", n, item)
}

// Money prints cents.
func Money(cents int) string {
	sign := ""
	if cents < 0 {
		sign, cents = "-", -cents
	}
	return fmt.Sprintf("%s%d.%02d", sign, cents/100, cents%100)
}

// Did says in words what a service has done when it has answered yes.
func (o Order) Did(service, verb string) string {
	return map[string]map[string]string{
		Inventory: {
			"prepare":  o.Goods() + " set aside",
			"commit":   o.Goods() + " taken from the shelf",
			"rollback": o.Goods() + " free again",
		},
		Payment: {
			"prepare":  Money(o.Amount()) + " put on hold",
			"commit":   Money(o.Amount()) + " charged",
			"rollback": "hold of " + Money(o.Amount()) + " released",
		},
		Orders: {
			"prepare":  "order written, still hidden",
			"commit":   "order visible",
			"rollback": "order erased, it was never visible",
		},
	}[service][verb]
}
