package http_test

import (
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
		schema := s.model.Components.Schemas.GetOrZero(name).Schema()
		var sent, always, listed []string
		for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
			field, option, _ := strings.Cut(f.Tag.Get("json"), ",")
			sent = append(sent, field)
			if option == "" {
				always = append(always, field)
			}
		}
		for field := range schema.Properties.FromOldest() {
			listed = append(listed, field)
		}
		if !sameSet(sent, listed) || !sameSet(always, schema.Required) {
			t.Errorf("%s: the server sends %q, always %q; the file lists %q, required %q", name, sent, always, listed, schema.Required)
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
	var listed, have []string
	for _, node := range s.model.Components.Schemas.GetOrZero(schema).Schema().Properties.GetOrZero(property).Schema().Enum {
		if node.Value != "null" {
			listed = append(listed, node.Value)
		}
	}
	for i := range T(100) {
		if w := word(i); w != "" && !strings.ContainsAny(w, " (") {
			have = append(have, w)
		}
	}
	if !sameSet(have, listed) || slices.Contains(listed, "") {
		t.Errorf("%s.%s: the library has %q, the file %q", schema, property, have, listed)
	}
}
