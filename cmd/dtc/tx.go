package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
)

func txCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tx",
		Short: "Look at the transactions of a running server, and help those that hang",
		Long: `The tx commands ask a coordinator that 'dtc serve' runs. retry and resolve need the
role operator, list and show that of an observer.`,
	}
	group(cmd)
	cmd.AddCommand(txListCommand(), txShowCommand(), txRetryCommand(), txResolveCommand())
	return cmd
}

// remote is the server that a command is about, and how it is reached.
type remote struct {
	server string
	credentials
}

// remoteFlags adds the flags that say which server is meant.
func remoteFlags(cmd *cobra.Command) *remote {
	r := new(remote)
	cmd.Flags().StringVar(&r.server, "server", "", "`URL` of the coordinator; DTC_SERVER in the environment (default http://127.0.0.1:7420)")
	r.flags(cmd)
	cmd.Flags().Lookup("token-file").Usage += "; DTC_TOKEN_FILE in the environment"
	return r
}

// client returns a client of the server.
func (r *remote) client() (*dtchttp.Client, error) {
	for _, v := range []struct {
		value           *string
		name, otherwise string
	}{{&r.server, "DTC_SERVER", "http://127.0.0.1:7420"}, {&r.token, "DTC_TOKEN_FILE", ""}} {
		if *v.value == "" {
			*v.value = os.Getenv(v.name)
		}
		if *v.value == "" {
			*v.value = v.otherwise
		}
	}
	bearer, err := r.bearer()
	if err != nil {
		return nil, err
	}
	config, err := r.tls()
	if err != nil {
		return nil, err
	}
	c, err := dtchttp.NewClient(r.server, &dtchttp.ClientOptions{Bearer: bearer, TLS: config})
	if err != nil {
		return nil, usagef("--server: %s; write it as in http://127.0.0.1:7420", strings.TrimPrefix(err.Error(), "dtc: bad request: "))
	}
	return c, nil
}

// about returns a client of the server, and the id on the command line that it is to be
// asked about.
func (r *remote) about(arg string) (*dtchttp.Client, dtc.TxID, error) {
	id, err := txID(arg)
	if err != nil {
		return nil, "", err
	}
	c, err := r.client()
	return c, id, err
}

// unreachable adds to an error of a call what to do about it.
func unreachable(c *dtchttp.Client, err error) error {
	var problem *dtchttp.Problem
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case !errors.As(err, &problem):
		return fmt.Errorf("%w\nNo answer from %s. Is 'dtc serve' running, and is --server (or DTC_SERVER) its address?", err, c.URL())
	case problem.Code == "unauthorized":
		return fmt.Errorf("%w\nSay who you are with --token-file, or --cert-file and --key-file; 'dtc config token' makes a token", err)
	}
	return err
}

// txID checks an id on the command line.
func txID(arg string) (dtc.TxID, error) {
	if arg == "" {
		return "", usagef("the transaction id is empty")
	}
	return dtc.TxID(arg), nil
}
