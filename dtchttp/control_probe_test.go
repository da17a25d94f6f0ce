package dtchttp_test

import (
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/internal/vfs"
)

// TestControlProbeMethods: probes are asked with GET or HEAD.
func TestControlProbeMethods(t *testing.T) {
	a := newDirect(t, vfs.NewMem(), dtc.Config{}, dtchttp.ControlOptions{})
	for _, path := range []string{"/livez", "/readyz", "/readyz?verbose"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "get"} {
			status, h, answer := a.full(method, path, "")
			if status != 405 || h.Get("Allow") != "GET" || answer["code"] != "method_not_allowed" {
				t.Errorf("%s %s: %d %v %v", method, path, status, h, answer)
			}
		}
		if status, answer := a.serve(a.h, "HEAD", path, ""); status != 200 {
			t.Errorf("HEAD %s: %d %s", path, status, answer)
		}
	}
	a.want("GET", "/livez/", "", 404, map[string]any{"code": "not_found"})
}
