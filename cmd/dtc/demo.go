package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/dtc-project/dtc/cmd/dtc/internal/demo"
	"github.com/dtc-project/dtc/cmd/dtc/internal/shop"
)

// The hidden commands that the demo runs in processes of their own.
const (
	demoChild   = "demo-coordinator" // killed in the fourth act
	demoService = "demo-service"
	demoServe   = "demo-serve"
)

func demoCommand() *cobra.Command {
	var o demo.Options
	var processes bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show it: orders over three services, failures and a killed coordinator",
		Long: `demo runs a shop whose orders change three SQLite databases, each behind a
service of its own, and shows every step: a commit, a rollback, a service that
dies and comes back, a coordinator that is killed with SIGKILL after its decision
and recovered. Then it reads the three files and checks that every order is in
all of them or in none: it exits with 0 only if that holds.

With --processes each service is a process of its own, and so is the coordinator,
which is 'dtc serve'. They speak HTTP, and are killed with SIGKILL.`,
		Example: `  dtc demo
  dtc demo --processes
  dtc demo --orders 1000 --seed 7
  dtc demo --data /tmp/shop && dtc log explain order-1003 --data /tmp/shop`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&o.Data, "data", "", "keep the log and the databases in `DIR`, and go on with what is there")
	cmd.Flags().IntVar(&o.Orders, "orders", 0, "run `N` more orders at once, with faults")
	cmd.Flags().Uint64Var(&o.Seed, "seed", 0, "make the same orders, faults and outcomes as another run with `SEED`; 0 is any")
	cmd.Flags().BoolVar(&processes, "processes", false, "run services and coordinator as processes that speak HTTP")
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if o.Orders < 0 || o.Orders > 1_000_000 {
			return usagef("--orders %d: want 0 to 1000000", o.Orders)
		}
		if o.Seed == 0 {
			o.Seed = 1 + rand.Uint64N(1_000_000)
		}
		o.Out, o.Child = cmd.OutOrStdout(), []string{demoChild}
		o.ServiceChild, o.ServeChild = []string{demoService}, []string{demoServe}
		if *output == "json" {
			o.Out = io.Discard
		}
		// Who reads the story may go away: then there is a directory to remove.
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGPIPE)
		defer stop()
		play := demo.Run
		if processes {
			play = demo.RunApart
		}
		sum, err := play(ctx, o)
		if ctx.Err() != nil {
			return errors.New("demo: interrupted")
		}
		if err != nil && !errors.Is(err, demo.ErrInvariant) {
			return fmt.Errorf("demo: %w", err)
		}
		if *output == "json" {
			return errors.Join(err, json.NewEncoder(cmd.OutOrStdout()).Encode(sum))
		}
		if sum.Data != "" {
			dir := strconv.Quote(sum.Data)
			if dir == `"`+sum.Data+`"` {
				dir = sum.Data
			}
			_, wrong := fmt.Fprintf(cmd.OutOrStdout(), "Everything is kept in %s. Now try: %s log explain %s --data %s\n",
				dir, self(), sum.LastOrder, dir)
			err = errors.Join(err, wrong)
		}
		return err
	}
	return cmd
}

// self is how people call this program: what they typed, or go run.
func self() string {
	if strings.Contains(os.Args[0], "go-build") {
		return "go run ./cmd/dtc"
	}
	return os.Args[0]
}

func demoChildCommand() *cobra.Command {
	return &cobra.Command{
		Use:    demoChild + " DIR ORDER CUSTOMER ITEM QUANTITY",
		Short:  "Run one order for the demo, and wait to be killed",
		Hidden: true,
		Args:   cobra.ExactArgs(5),
		RunE: func(cmd *cobra.Command, args []string) error {
			quantity, err := strconv.Atoi(args[4])
			if err != nil {
				return usageError{err}
			}
			order := shop.Order{ID: args[1], Customer: args[2], Item: args[3], Quantity: quantity}
			return demo.Child(cmd.Context(), args[0], order, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

func demoServiceCommand() *cobra.Command {
	return &cobra.Command{
		Use:    demoService + " DIR NAME ADDRESS STEPS",
		Short:  "Run one service for the demo",
		Hidden: true,
		Args:   cobra.ExactArgs(4),
		RunE: func(cmd *cobra.Command, args []string) error {
			demo.DieWithParent(cmd.InOrStdin())
			return demo.ServiceChild(cmd.Context(), args[0], args[1], args[2], args[3], cmd.OutOrStdout())
		},
	}
}

func demoServeCommand() *cobra.Command {
	return &cobra.Command{
		Use:                demoServe + " FLAGS OF SERVE",
		Short:              "Run dtc serve for the demo, until the demo ends",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			demo.DieWithParent(cmd.InOrStdin())
			root, _ := newRoot()
			root.SetArgs(append([]string{"serve"}, args...))
			root.SetOut(cmd.OutOrStdout())
			root.SetErr(cmd.ErrOrStderr())
			return root.ExecuteContext(cmd.Context())
		},
	}
}
