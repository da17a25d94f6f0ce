package http_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/internal/protocol"
)

// documents: what the server may send, and a test cannot easily bring out, is in the file.
func documents(t *testing.T, s *spec) {
	for name, v := range map[string]any{
		"Transaction": dtchttp.Transaction{}, "TransactionBranch": dtchttp.TxBranch{},
		"Reason": dtchttp.Reason{}, "ParticipantStatus": dtchttp.ParticipantStatus{},
	} {
		schema := s.schema(name)
		listed, required := schema.get("properties").names(), schema.get("required").texts()
		var sent, always []string
		for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
			field, option, _ := strings.Cut(f.Tag.Get("json"), ",")
			sent = append(sent, field)
			if option == "" {
				always = append(always, field)
			}
		}
		if !sameSet(sent, listed) || !sameSet(always, required) {
			t.Errorf("%s: the server sends %q, always %q; the file lists %q, required %q", name, sent, always, listed, required)
		}
	}
	for what, limit := range map[string]struct {
		file node
		want int
	}{
		"the branches":            {s.schema("RunRequest").get("properties", "branches", "maxItems"), protocol.MaxBranches},
		"the id":                  {s.schema("TxId").get("maxLength"), protocol.MaxTxID},
		"the id of a participant": {s.schema("ParticipantId").get("maxLength"), protocol.MaxParticipantID},
	} {
		if fmt.Sprint(limit.file.v) != fmt.Sprint(limit.want) {
			t.Errorf("%s: the limit is not %d in the file", what, limit.want)
		}
	}
	words(t, s, "TransactionBranch", "state", protocol.BranchState.String)
	words(t, s, "TransactionBranch", "vote", dtc.Vote.String)
	words(t, s, "Reason", "code", dtc.Code.String)
	words(t, s, "Decision", "decision", dtc.Decision.String)
}

// words checks that a property has the words that a type of the library has.
func words[T ~uint8](t *testing.T, s *spec, schema, property string, word func(T) string) {
	t.Helper()
	listed := s.schema(schema).get("properties", property, "enum").texts()
	var have []string
	for i := range T(100) {
		if w := word(i); w != "" && !strings.ContainsAny(w, " (") {
			have = append(have, w)
		}
	}
	if !sameSet(have, listed) || slices.Contains(listed, "") {
		t.Errorf("%s.%s: the library has %q, the file %q", schema, property, have, listed)
	}
}
