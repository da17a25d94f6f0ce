//go:build canary

// Package env switches on the planted bug that DTC_CANARY names, so that any test
// whose package imports it can be run with one. It is apart because what the
// protocol imports asks nobody for anything.
package env

import (
	"os"

	"github.com/dtc-project/dtc/internal/canary"
)

func init() { canary.Active = canary.Bug(os.Getenv("DTC_CANARY")) }
