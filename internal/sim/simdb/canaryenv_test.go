//go:build canary

package simdb_test

import _ "github.com/dtc-project/dtc/internal/canary/env" // DTC_CANARY plants a bug
