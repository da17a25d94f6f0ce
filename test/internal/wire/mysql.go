package wire

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
)

// MySQL is the protocol of MySQL and MariaDB, version 10, without encryption and
// compression. The text of a request is that of a query; a statement that is prepared first
// has none. Of an answer with several results the first one ends it.
func MySQL(client, server net.Conn) Codec {
	return &mysql{client: bufio.NewReader(client), server: bufio.NewReader(server), eofs: 2}
}

type mysql struct {
	client, server *bufio.Reader
	begun          bool

	mu    sync.Mutex
	eofs  int  // that a set of rows has: one after the columns, if the client wants it, and one at its end
	asked bool // the next packet is the first one of an answer
	left  int  // EOFs of this answer that have not come
}

const (
	withoutEOF = 1 << 24 // of the client's capabilities: none after the columns

	commandQuery = 0x03
	beginsOK     = 0x00
	beginsEOF    = 0xfe // and a row whose first column is longer than can be
	beginsError  = 0xff
)

// packet reads one packet: three bytes of length, a number that begins anew with each
// command, and the content.
func packet(r *bufio.Reader) ([]byte, error) {
	raw := make([]byte, 4, 64)
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, err
	}
	raw = append(raw, make([]byte, int(raw[0])|int(raw[1])<<8|int(raw[2])<<16)...)
	_, err := io.ReadFull(r, raw[4:])
	return raw, err
}

func (c *mysql) Request() ([]byte, string, error) {
	raw, err := packet(c.client)
	if err != nil || len(raw) < 5 {
		return raw, "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if raw[3] != 0 { // of the handshake, or the rest of a command
		if !c.begun && len(raw) >= 8 && binary.LittleEndian.Uint32(raw[4:])&withoutEOF != 0 {
			c.eofs = 1
		}
		c.begun = true
		return raw, "", nil
	}
	c.asked = true
	if raw[4] == commandQuery {
		return raw, string(raw[5:]), nil
	}
	return raw, "", nil
}

// Reply says that an answer ends with an OK, an error, or the end of its rows.
func (c *mysql) Reply() ([]byte, bool, error) {
	raw, err := packet(c.server)
	if err != nil || len(raw) < 5 {
		return raw, false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked {
		c.asked, c.left = false, c.eofs
		return raw, raw[4] == beginsOK || raw[4] == beginsError, nil
	}
	if raw[4] == beginsEOF && len(raw) < 1<<16 {
		c.left--
		return raw, c.left == 0, nil
	}
	return raw, raw[4] == beginsError, nil
}
