package access

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/dtc-project/dtc/dtchttp"
)

func request(headers ...string) *http.Request {
	return &http.Request{Header: http.Header{"Authorization": headers}}
}

func verified(r *http.Request, cert *x509.Certificate) *http.Request {
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}}}
	return r
}

func TestAuthenticateByToken(t *testing.T) {
	token, l := line("shop", "app")
	tokens, _ := open(t, new(lines), l)
	rules := Rules{Tokens: tokens}
	for _, c := range []struct {
		headers []string
		want    error
	}{
		{[]string{"Bearer " + token}, nil},
		{[]string{"bearer " + token}, nil},
		{[]string{"BEARER   " + token + " "}, nil},
		{nil, errNone},
		{[]string{"Bearer " + token, "Bearer " + token}, errTwo},
		{[]string{"Basic x", "Bearer " + token}, errTwo},
		{[]string{""}, errScheme},
		{[]string{token}, errScheme},
		{[]string{"Basic " + token}, errScheme},
		{[]string{"Token " + token}, errScheme},
		{[]string{"Bearer"}, errScheme},
		{[]string{"Bearer  "}, errScheme},
		{[]string{"Bearer:" + token}, errScheme},
		{[]string{"Bearer " + token + " " + token}, errScheme},
		{[]string{"Bearer " + token + ", Basic x"}, errScheme},
		{[]string{"Bearer " + token + "x"}, errUnknown},
		{[]string{"Bearer " + token[1:]}, errUnknown},
	} {
		caller, err := rules.Authenticate(request(c.headers...))
		if !errors.Is(err, c.want) || (err == nil) != (caller.Name == "shop") || err != nil && len(caller.Roles) > 0 {
			t.Errorf("%q: %+v, %v; want %v", c.headers, caller, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), token[4:]) {
			t.Errorf("the error shows the token: %v", err)
		}
	}
	texts := map[string]bool{}
	for _, err := range []error{errNone, errTwo, errScheme, errUnknown, errNoUse} {
		texts[err.Error()] = true
	}
	if len(texts) != 5 {
		t.Error("two mistakes are told in the same words")
	}
	if _, err := (Rules{}).Authenticate(request("Bearer " + token)); !errors.Is(err, errNoUse) {
		t.Errorf("without tokens: %v", err)
	}
	if _, err := (Rules{}).Authenticate(request()); !errors.Is(err, errNoUse) {
		t.Errorf("without rules: %v", err)
	}
}

func TestAuthenticateByCertificate(t *testing.T) {
	ca := newAuthority(t, "ca")
	token, l := line("ops", "operator")
	tokens, _ := open(t, new(lines), l)
	rules := Rules{Tokens: tokens, Certificates: map[string][]dtchttp.Role{
		"shop":                   {"app"},
		"stock.internal":         {"participant:stock"},
		"spiffe://example/watch": {"observer", "app"},
		"twice.internal":         {"participant:other"},
		"wrong":                  {"admin"},
	}}
	for _, c := range []struct {
		names  names
		caller string
		roles  string // empty: not let in
		whose  string
	}{
		{names{cn: "shop"}, "shop", "app", ""},
		{names{dns: []string{"x", "stock.internal"}}, "stock.internal", "participant", "stock"},
		{names{uri: "spiffe://example/watch"}, "spiffe://example/watch", "observer app", ""},
		{names{cn: "shop", dns: []string{"stock.internal"}, uri: "spiffe://example/watch"}, "shop", "app participant observer", "stock"},
		{names{cn: "Shop"}, "", "", ""},
		{names{cn: "shop.evil", dns: []string{"evil"}}, "", "", ""},
		{names{}, "", "", ""},
		{names{dns: []string{"stock.internal", "twice.internal"}}, "", "", ""}, // whose branches?
		{names{cn: "wrong"}, "", "", ""},
	} {
		cert, _ := ca.make(c.names)
		caller, err := rules.Authenticate(verified(request(), cert))
		var roles []string
		for _, r := range caller.Roles {
			roles = append(roles, string(r))
		}
		if caller.Name != c.caller || strings.Join(roles, " ") != c.roles || caller.Participant != c.whose || (err == nil) != (c.roles != "") {
			t.Errorf("%+v: %+v, %v", c.names, caller, err)
		}
	}
	cert, _ := ca.make(names{cn: "shop"})
	// A token that is there counts, good or bad.
	if caller, err := rules.Authenticate(verified(request("Bearer "+token), cert)); err != nil || !slices.Equal(caller.Roles, []dtchttp.Role{"operator"}) {
		t.Errorf("a good token beside: %+v, %v", caller, err)
	}
	if caller, err := rules.Authenticate(verified(request("Bearer x"), cert)); !errors.Is(err, errUnknown) {
		t.Errorf("a bad token beside: %+v, %v", caller, err)
	}
	// One that the listener did not verify says nothing.
	unverified := verified(request(), cert)
	unverified.TLS.VerifiedChains = nil
	if caller, err := rules.Authenticate(unverified); !errors.Is(err, errNone) {
		t.Errorf("not verified: %+v, %v", caller, err)
	}
	long, _ := ca.make(names{dns: slices.Repeat([]string{strings.Repeat("n", 60)}, 1)})
	if _, err := rules.Authenticate(verified(request(), long)); err == nil || !strings.Contains(fmt.Sprint(err), "nnnn") {
		t.Errorf("an unknown name is not told: %v", err)
	}
}
