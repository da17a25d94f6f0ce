package mysql_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc/test/internal/servers"
	"github.com/dtc-project/dtc/test/internal/serving"
)

// authority issues certificates into a directory that everybody may read.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	dir, err := os.MkdirTemp("", "dtc-tls-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, dir: dir}
	a.cert, a.key = a.issue(name)
	return a
}

// issue makes a certificate and its key, as NAME.pem and NAME.key; the first one signs
// itself. The name "127.0.0.1" is an address.
func (a *authority) issue(name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if ip := net.ParseIP(name); ip != nil {
		c.DNSNames, c.IPAddresses = nil, []net.IP{ip}
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		c.IsCA, c.BasicConstraintsValid = true, true
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(a.file(file), pem.EncodeToMemory(block), 0o644); err != nil {
			a.t.Fatal(err)
		}
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return made, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// TestServeTLS: whom a URL trusts, and what it shows, on servers that have a certificate
// for their address and for another name.
func TestServeTLS(t *testing.T) {
	a, other := newAuthority(t, "ca"), newAuthority(t, "ca")
	a.issue("client")
	for name, good := range map[string]bool{"127.0.0.1": true, "elsewhere": false} {
		a.issue(name)
		b, w := newBank(t, servers.MariaDB(t, "ssl-ca="+a.file("ca.pem"), "ssl-cert="+a.file(name+".pem"), "ssl-key="+a.file(name+".key")))
		w.exec(t, "CREATE USER encrypted IDENTIFIED BY 'hunter2' REQUIRE SSL")
		w.exec(t, "CREATE USER shown IDENTIFIED BY 'hunter2' REQUIRE X509")
		w.exec(t, "GRANT ALL ON "+w.name+".* TO encrypted, shown")
		ca, certificate := "&ssl-ca="+a.file("ca.pem"), "&ssl-cert="+a.file("client.pem")+"&ssl-key="+a.file("client.key")
		wants := map[string]string{
			"encrypted?ssl-mode=DISABLED":                                       "1045",
			"encrypted?":                                                        "", // PREFERRED
			"encrypted?ssl-mode=REQUIRED":                                       "",
			"shown?ssl-mode=REQUIRED":                                           "1045",
			"shown?ssl-mode=REQUIRED" + certificate:                             "",
			"encrypted?ssl-mode=VERIFY_CA":                                      "x509",
			"encrypted?ssl-mode=VERIFY_CA" + ca:                                 "",
			"encrypted?ssl-mode=VERIFY_CA&ssl-ca=" + other.file("ca.pem"):       "x509",
			"encrypted?ssl-mode=VERIFY_IDENTITY&ssl-ca=" + other.file("ca.pem"): "x509",
			"encrypted?ssl-mode=VERIFY_IDENTITY" + ca:                           map[bool]string{false: "x509"}[good],
			"shown?ssl-mode=verify_identity" + ca + certificate:                 map[bool]string{false: "x509"}[good],
		}
		// All are looked at in one call, each as a participant of its own.
		var names []string
		args := []string{"doctor", "-o", "json"}
		for settings := range wants {
			account, parameters, _ := strings.Cut(settings, "?")
			args = append(args, "--participant", fmt.Sprintf("p%d=%s?%s", len(names), strings.Replace(b.URL, "root@", account+":hunter2@", 1), parameters))
			names = append(names, settings)
		}
		out, _ := exec.CommandContext(t.Context(), serving.Binary(t), args...).Output()
		var found struct {
			Findings []struct{ Level, What string }
		}
		if err := json.Unmarshal(out, &found); err != nil || len(found.Findings) != len(wants) || strings.Contains(string(out), "hunter2") {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, f := range found.Findings {
			var n int
			if _, err := fmt.Sscanf(f.What, "p%d at ", &n); err != nil {
				t.Fatal(err)
			}
			if want := wants[names[n]]; (f.Level == "ok") != (want == "") || !strings.Contains(f.What, want) {
				t.Errorf("certificate of %s, %s: want %q: %+v", name, names[n], want, f)
			}
		}
	}
}
