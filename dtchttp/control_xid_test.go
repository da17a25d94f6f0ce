package dtchttp_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
)

// TestControlXID: a step that names the XID is taken by that transaction only, and what
// has no branches is not committed.
func TestControlXID(t *testing.T) {
	a := newAPI(t, dtc.Config{}, dtchttp.ControlOptions{})
	tx := a.want("POST", "/v1/transactions/begin", `{"id":"t"}`, 201, nil)
	other := a.want("POST", "/v1/transactions/begin", `{"id":"u"}`, 201, nil)
	mine, wrong := `"xid":"`+tx["xid"].(string)+`"`, `"xid":"`+other["xid"].(string)+`"`
	a.want("POST", "/v1/transactions/t/commit", "", 400, map[string]any{"code": "bad_request"})
	a.want("GET", "/v1/transactions/t", "", 200, map[string]any{"state": "active"})
	a.want("POST", "/v1/transactions/t/branches", `{"participant":"orders",`+wrong+`}`, 409, map[string]any{"code": "tx_conflict"})
	a.want("POST", "/v1/transactions/t/branches", `{"participant":"orders","xid":"x"}`, 400, map[string]any{"field": "xid"})
	a.want("POST", "/v1/transactions/t/branches", `{"participant":"orders",`+mine+`}`, 201, map[string]any{"xid": tx["xid"]})
	for _, verb := range []string{"commit", "rollback"} {
		a.want("POST", "/v1/transactions/t/"+verb, `{`+wrong+`}`, 409, map[string]any{"code": "tx_conflict"})
	}
	a.want("POST", "/v1/transactions/t/commit", `{`+mine+`}`, 200, map[string]any{"committed": true})
	a.want("POST", "/v1/transactions/t/commit", `{`+wrong+`}`, 409, map[string]any{"code": "tx_conflict"})
}

// TestClientCommitsItsOwn: a transaction that a crash took away and somebody began again
// is not committed in the place of the lost one.
func TestClientCommitsItsOwn(t *testing.T) {
	a := newAPI(t, dtc.Config{}, dtchttp.ControlOptions{})
	c, err := dtchttp.NewClient(a.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Run(t.Context(), "t", func(ctx context.Context, tx *dtchttp.ClientTx) error {
		if err := tx.Enlist(ctx, "orders", []byte("{}")); err != nil {
			return err
		}
		if err := a.c.Close(); err != nil { // rolls it back
			return err
		}
		cfg := dtc.Config{Logger: slog.New(slog.DiscardHandler)}
		for _, m := range a.members {
			cfg.Participants = append(cfg.Participants, m)
		}
		again, err := dtc.Open(t.TempDir(), &cfg) // as if the crash had kept nothing
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = again.Close() })
		a.h.Use(again)
		if _, begun, err := again.Begin("t", nil); err != nil || !begun {
			return errors.New("not begun")
		}
		_, _, err = again.Enlist("t", dtc.Branch{Participant: "payment"})
		return err
	})
	if err == nil || errors.Is(err, dtc.ErrInDoubt) {
		t.Errorf("Run says %v", err)
	}
	if n := a.members[1].Counts(); n.Prepared != 0 {
		t.Errorf("the other one was committed: %+v", n)
	}
}
