//go:build canary

package protocol_test

import _ "github.com/dtc-project/dtc/internal/canary/env" // DTC_CANARY plants a bug
