package http_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
)

// fill puts the examples of the file into the path of an operation.
func fill(op *operation) string {
	path := op.path
	for _, p := range op.params {
		if p.get("in").text() == "path" {
			path = strings.ReplaceAll(path, "{"+p.get("name").text()+"}", url.PathEscape(p.get("example").text()))
		}
	}
	return path
}

// everywhere sends to each operation what each must refuse.
func everywhere(t *testing.T, s *spec) {
	coord, _ := coordinator(t, dtc.Config{})
	h := dtchttp.NewControlHandler(&dtchttp.ControlOptions{Logger: quiet, Authenticate: authenticate})
	h.Use(coord)
	c := serve(t, s, h)
	names := map[string]bool{} // of all members of all requests
	for _, op := range s.operations() {
		maps.Copy(names, members(op))
	}
	for _, op := range s.operations() {
		path := fill(op)
		roles, open := roles(op)
		switch {
		case op.path == "/metrics": // served by the program; see process
			continue
		case op.path == "/readyz":
			path += "?verbose"
		case open:
			c.want(405, "DELETE", path, "")
			continue
		}
		c.want(401, op.method, path, "", "X-Role", "nobody")
		c.want(500, op.method, path, "", "X-Role", "fault")
		for _, role := range []string{"app", "participant", "observer", "operator"} {
			if !slices.Contains(roles, role) {
				c.want(403, op.method, path, "", "X-Role", role)
				continue
			}
			r := httptest.NewRequest(op.method, path, http.NoBody)
			r.Header.Set("X-Role", role)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code == http.StatusForbidden {
				t.Errorf("%s: the file says that %s may, and the server does not", op, role)
			}
		}
		if op.get("requestBody").exists() {
			c.bodies(op, path)
			c.members(op, path, names)
		}
		c.want(405, "DELETE", path, "")
	}
	c.want(404, "GET", "/", "")
	c.want(404, "GET", "/v1", "")
	c.want(400, "GET", "/v1/transactions/", "") // an empty id
}

// roles returns who may call an operation; open means everybody.
func roles(op *operation) (roles []string, open bool) {
	for _, name := range []string{"x-roles", "x-roles-verbose"} {
		if list := op.get(name); list.exists() {
			return list.texts(), false // empty, nobody may, which is seen
		}
	}
	return nil, true
}

// refused: servers that cannot, or must not, do what they are asked.
func refused(t *testing.T, s *spec) {
	unready := serve(t, s, dtchttp.NewControlHandler(&dtchttp.ControlOptions{Logger: quiet}))
	coord, _ := coordinator(t, dtc.Config{})
	narrow := dtchttp.NewControlHandler(&dtchttp.ControlOptions{Logger: quiet, MaxBytes: 10})
	narrow.Use(coord)
	full := serve(t, s, narrow)
	for _, op := range s.operations() {
		path := fill(op)
		if strings.HasPrefix(path, "/v1/") {
			unready.want(503, op.method, path, "")
		}
		if op.get("requestBody").exists() {
			full.want(429, op.method, path, `{           }`)
		}
	}
	unready.want(200, "GET", "/livez", "")
	unready.want(503, "GET", "/readyz", "")

	stopping := dtchttp.NewControlHandler(&dtchttp.ControlOptions{Logger: quiet})
	stopping.Use(coord)
	stopping.Drain()
	c := serve(t, s, stopping)
	c.want(503, "GET", "/readyz?verbose=1", "")
	c.want(503, "POST", "/v1/transactions", `{"branches":[{"participant":"orders"}]}`)
	c.want(503, "POST", "/v1/transactions/begin", "")
	c.want(503, "POST", "/v1/transactions/x/branches", `{"participant":"orders"}`)
}
