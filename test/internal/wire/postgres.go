package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Postgres is the protocol of PostgreSQL, version 3, without encryption. The text of a
// request is that of a query, or of a statement that is bound to be executed; that of a
// message that cancels what another connection does is [Cancel].
func Postgres(client, server net.Conn) Codec {
	return &postgres{
		client: bufio.NewReader(client), server: bufio.NewReader(server),
		statements: map[string]string{}, begun: false,
	}
}

type postgres struct {
	client, server *bufio.Reader
	statements     map[string]string // that were parsed, by name
	begun          bool
}

// Cancel is the text of a request to cancel a statement.
const Cancel = "CANCEL"

const cancelCode = 80877102

// maxMessage bounds what is kept of one message.
const maxMessage = 64 << 20

var errSize = errors.New("wire: the length of a message is out of bounds")

// message reads one message: a byte that says what it is, but for the first message of a
// client, then its length, which counts itself.
func message(r *bufio.Reader, typed bool) ([]byte, error) {
	head := 4
	if typed {
		head = 5
	}
	raw := make([]byte, head)
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(raw[head-4:])) - 4
	if n < 0 || n > maxMessage {
		return nil, errSize
	}
	raw = append(raw, make([]byte, n)...)
	_, err := io.ReadFull(r, raw[head:])
	return raw, err
}

func (c *postgres) Request() ([]byte, string, error) {
	raw, err := message(c.client, c.begun)
	if err != nil {
		return raw, "", err
	}
	if !c.begun {
		c.begun = true
		if len(raw) >= 8 && binary.BigEndian.Uint32(raw[4:]) == cancelCode {
			return raw, Cancel, nil
		}
		return raw, "", nil
	}
	text, err := c.text(raw)
	return raw, text, err
}

func (c *postgres) text(raw []byte) (string, error) {
	switch raw[0] {
	case 'Q':
		var m pgproto3.Query
		err := m.Decode(raw[5:])
		return m.String, err
	case 'P':
		var m pgproto3.Parse
		err := m.Decode(raw[5:])
		c.statements[m.Name] = m.Query
		return "", err
	case 'B':
		var m pgproto3.Bind
		err := m.Decode(raw[5:])
		return c.statements[m.PreparedStatement], err
	}
	return "", nil
}

// Reply says that an answer ends with the message that the server is ready for the next
// query.
func (c *postgres) Reply() ([]byte, bool, error) {
	raw, err := message(c.server, true)
	return raw, err == nil && raw[0] == 'Z', err
}
