package access

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/dtc-project/dtc/dtchttp"
)

// Rules say who may call. The zero value lets nobody in.
type Rules struct {
	// Tokens are good in an Authorization header; nil means that none is.
	Tokens *Tokens
	// Certificates are the roles of client certificates, by a name that stands in
	// them: the subject's common name, or an alternative name that is a DNS name or
	// a URI. A role may be participant:ID, as in a tokens file. A certificate with
	// several names has the roles of all of them.
	//
	// A certificate counts only if the listener has verified it. Whoever can get one
	// for any name from the authority of [Files] has the roles of that name, so that
	// should be an authority for this purpose alone.
	Certificates map[string][]dtchttp.Role
}

// Why a caller is not let in. None of these tells anything about a token.
var (
	errNone    = errors.New("who is calling? This server wants a token in the header Authorization: Bearer, or a client certificate that it knows")
	errTwo     = errors.New("there are several Authorization headers: send one")
	errScheme  = errors.New("the Authorization header must be the word Bearer, a space and a token")
	errUnknown = errors.New("the token is not known: it is not in the tokens file, or has been taken out of it")
	errNoUse   = errors.New("this server takes no tokens: it wants a client certificate that it knows")
)

// Authenticate returns who sent a request. A token that is there must be good,
// whatever certificate stands beside it; the certificate counts if there is none.
func (r Rules) Authenticate(req *http.Request) (dtchttp.Caller, error) {
	headers := req.Header.Values("Authorization")
	switch {
	case len(headers) > 1:
		return dtchttp.Caller{}, errTwo
	case len(headers) == 1:
		return r.byToken(headers[0])
	case req.TLS != nil && len(req.TLS.VerifiedChains) > 0:
		return r.byCertificate(req.TLS.VerifiedChains[0][0])
	case r.Tokens == nil:
		return dtchttp.Caller{}, errNoUse
	}
	return dtchttp.Caller{}, errNone
}

func (r Rules) byToken(header string) (dtchttp.Caller, error) {
	scheme, token, _ := strings.Cut(header, " ")
	token = strings.TrimSpace(token)
	switch {
	case !strings.EqualFold(scheme, "Bearer") || token == "" || strings.ContainsAny(token, " \t,"):
		return dtchttp.Caller{}, errScheme
	case r.Tokens == nil:
		return dtchttp.Caller{}, errNoUse
	}
	caller, ok := r.Tokens.find(token)
	if !ok {
		return dtchttp.Caller{}, errUnknown
	}
	return caller, nil
}

func (r Rules) byCertificate(cert *x509.Certificate) (caller dtchttp.Caller, err error) {
	var words []string
	names := certificateNames(cert)
	for _, name := range names {
		roles := r.Certificates[name]
		if len(roles) > 0 && caller.Name == "" {
			caller.Name = name
		}
		for _, role := range roles {
			if !slices.Contains(words, string(role)) {
				words = append(words, string(role))
			}
		}
	}
	if len(words) == 0 {
		return caller, fmt.Errorf("the client certificate has no role here: its names are %q", names)
	}
	caller.Roles, caller.Participant, err = ParseRoles(words)
	if err != nil {
		return dtchttp.Caller{}, fmt.Errorf("the roles of the client certificate contradict each other: %w", err)
	}
	return caller, nil
}

// certificateNames returns the names of a certificate that can have roles.
func certificateNames(cert *x509.Certificate) (names []string) {
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	add(cert.Subject.CommonName)
	for _, name := range cert.DNSNames {
		add(name)
	}
	for _, u := range cert.URIs {
		add(u.String())
	}
	return names
}
