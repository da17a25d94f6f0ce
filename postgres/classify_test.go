package postgres

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestSafe: no value is in an error, in whatever language the server speaks.
func TestSafe(t *testing.T) {
	for message, want := range map[string]string{
		`invalid input syntax for type integer: "secret"`:                `invalid input syntax for type integer: …`,
		`ungültige Eingabesyntax für Typ integer: »secret«`:              `ungültige Eingabesyntax für Typ integer: …`,
		`syntaxe en entrée invalide pour le type integer : « secret »`:   `syntaxe en entrée invalide pour le type integer : …`,
		`nieprawidłowa składnia wejścia dla typu integer: „sec"ret” tam`: `nieprawidłowa składnia wejścia dla typu integer: … tam`,
		`无效的类型 integer 输入语法: “secret”`:                                   `无效的类型 integer 输入语法: …`,
		`division by zero`: `division by zero`,
	} {
		err := safe(&pgconn.PgError{Code: "22P02", Message: message}).Error()
		if strings.Contains(err, "secret") || !strings.HasPrefix(err, want+" (SQLSTATE") {
			t.Errorf("%s: %s", message, err)
		}
	}
	if err := safe(&pgconn.PgError{Code: "42P01", Message: `relation "x" does not exist`}).Error(); !strings.Contains(err, `"x"`) {
		t.Errorf("what is no value is left out: %s", err)
	}
}
