package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dtc-project/dtc/cmd/dtc/internal/access"
)

// configTokenCommand returns `dtc config token`.
func configTokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token NAME ROLE…",
		Short: "Make a bearer token, and its line for the tokens file",
		Long: `Makes a token of 256 random bits for a caller of 'dtc serve'. The line for the
tokens file, which holds only a hash of it, goes to standard output. The token goes
to standard error, once, and is kept nowhere: give it to the caller.

  dtc config token shop app >> /etc/dtc/tokens

NAME is what the audit log calls the caller. The roles are

  app               run transactions, and ask for their outcomes
  participant       ask how branches end; participant:ID for those of ID only
  observer          read everything
  operator          all of that, and retry and resolve

A running server reads the file again by itself. To replace a token without a gap
add a second line of the same name, and take the first one out later.`,
		Args: cobra.MinimumNArgs(2),
	}
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, roles := args[0], strings.Split(strings.Join(args[1:], ","), ",")
		if err := access.CheckName(name); err != nil {
			return usageError{err}
		}
		if _, _, err := access.ParseRoles(roles); err != nil {
			return usageError{err}
		}
		token, hash := access.NewToken()
		line := strings.Join([]string{name, strings.Join(roles, ","), hash}, " ")
		if *output == "json" {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(struct {
				Token string `json:"token"`
				Line  string `json:"line"`
			}{token, line})
		}
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
			return err
		}
		_, err := fmt.Fprintf(cmd.ErrOrStderr(), "The token of %s, which is not shown again:\n%s\n", name, token)
		return err
	}
	return cmd
}
