package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dtc-project/dtc/cmd/dtc/internal/logview"
	"github.com/dtc-project/dtc/wal"
)

func logExplainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain TXID",
		Short: "Tell what happened to a transaction",
		Long: `explain tells in sentences what the log says of a transaction: who was asked, how
they voted, what was decided and when, and what is left to do. TXID is the name
that the caller gave it, or its XID.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%d transaction ids: name one", len(args))
			}
			return nil
		},
	}
	data := dataFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, place, err := openLog(*data)
		if err != nil {
			return err
		}
		var found []*logview.History
		err = steady(r, place, func(r *wal.Reader) (err error) {
			found, err = logview.Find(r, args[0])
			return err
		})
		for _, h := range found {
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), strings.Join(h.Sentences(), "\n")); err != nil {
				return err
			}
		}
		if err != nil {
			return advice(err)
		}
		if len(found) == 0 {
			return fmt.Errorf("no transaction %q is in this log: it never began here, or it ended so long ago that it was dropped.\n"+
				"That it is unknown says nothing about how it ended; 'dtc log dump' lists what is there", args[0])
		}
		return nil
	}
	return cmd
}
