//go:build !linux && !darwin && !freebsd

package telemetry

import "errors"

// free is not known here, and so there is no metric.
func free(string) (float64, error) { return 0, errors.ErrUnsupported }
