package node

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
)

// serve serves the participants over HTTP until the process is killed. The line that it
// prints says where each is.
func serve(o Orders) error {
	c, err := newCast(o)
	if err != nil {
		return err
	}
	var urls []string
	failed := make(chan error, len(o.Serve))
	for i, g := range c.guards[:len(o.Serve)] {
		p := dtc.Participant(g)
		if i == Plain {
			p = struct{ dtc.Participant }{p} // hides InDoubt
		}
		l, err := net.Listen("tcp", o.Serve[i])
		if err != nil {
			return err
		}
		urls = append(urls, l.Addr().String())
		s := &http.Server{Handler: dtchttp.NewParticipantHandler(p, nil), ReadHeaderTimeout: time.Minute}
		go func() { failed <- s.Serve(l) }()
	}
	text, err := json.Marshal(urls)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", text)
	return <-failed
}
