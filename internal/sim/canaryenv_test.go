//go:build canary

package sim

import _ "github.com/dtc-project/dtc/internal/canary/env" // DTC_CANARY plants a bug
