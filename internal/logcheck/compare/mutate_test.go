package compare_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand"
	"slices"
	"strings"

	"github.com/dtc-project/dtc/internal/vfs"
)

var (
	le    = binary.LittleEndian
	table = crc32.MakeTable(crc32.Castagnoli)
)

// mutate changes something in a log and says what.
func mutate(fs *vfs.Mem, rng *rand.Rand) string {
	var files []string
	for _, path := range fs.Files() {
		if !strings.HasSuffix(path, "/LOCK") {
			files = append(files, path)
		}
	}
	if len(files) == 0 {
		return "nothing is left"
	}
	path := files[rng.Intn(len(files))]
	b := fs.ReadFile(path)
	if len(b) == 0 {
		return path + " is empty"
	}
	at := rng.Intn(len(b))
	if rng.Intn(2) == 0 {
		at = rng.Intn(min(len(b), 600)) // where the headers are
	}
	switch rng.Intn(12) {
	case 0, 1:
		b[at] ^= 1 << rng.Intn(8)
	case 2:
		b[at] = byte(rng.Intn(256))
	case 3:
		b = b[:at]
	case 4:
		b = append(b, make([]byte, rng.Intn(200))...)
	case 5:
		clear(b[at:min(len(b), at+1+rng.Intn(600))])
	case 6:
		from, n := rng.Intn(len(b))&^7, 8*(1+rng.Intn(40))
		at &^= 7
		copy(b[at:], slices.Clone(b[from:min(len(b), from+n)]))
	case 7:
		fs.RemoveFile(path)
		return "without " + path
	case 8:
		other := files[rng.Intn(len(files))]
		fs.WriteFile(other, b)
		return path + " copied to " + other
	case 9:
		name := fmt.Sprintf("/log/%08d.seg", 1+rng.Intn(8))
		fs.WriteFile(name, b)
		return path + " copied to " + name
	default:
		return path + ": " + forge(fs, path, b, rng)
	}
	fs.WriteFile(path, b)
	return fmt.Sprintf("%s changed at %d", path, at)
}

// forge changes a byte and repairs the checksum around it: the kind of mistake
// that only a decoder finds which looks at everything.
func forge(fs *vfs.Mem, path string, b []byte, rng *rand.Rand) string {
	change := func(b []byte) int {
		i := rng.Intn(len(b))
		if len(b) > 56 && rng.Intn(2) == 0 {
			i = rng.Intn(min(len(b), 96)) // the header and the first records
		}
		b[i] = [...]byte{0, 1, 2, 3, 10, 127, 128, 255, byte(rng.Intn(256)), b[i] + 1, b[i] - 1}[rng.Intn(11)]
		return i
	}
	if len(b) == 32 {
		i := change(b)
		seal(b, 8)
		fs.WriteFile(path, b)
		return fmt.Sprintf("forged at %d", i)
	}
	if len(b) < 88+56 {
		return "too short"
	}
	off := 88
	for n := rng.Intn(30); n > 0; n-- {
		if next := off + 56 + (int(le.Uint32(b[off+8:]))+7)/8*8; next+56 < len(b) && string(b[next:next+4]) == "dtcB" {
			off = next
		}
	}
	end := off + 56 + (int(le.Uint32(b[off+8:]))+7)/8*8
	if rng.Intn(3) == 0 || string(b[off:off+4]) != "dtcB" || end > len(b) {
		i := change(b[:88])
		seal(b[:88], 12)
		fs.WriteFile(path, b)
		return fmt.Sprintf("header forged at %d", i)
	}
	i := change(b[off+8 : end])
	le.PutUint32(b[off+4:], crc32.Checksum(b[off+8:end], table))
	fs.WriteFile(path, b)
	return fmt.Sprintf("batch at %d forged at %d", off, i+8)
}

// sealed returns a copy of a file in which every checksum is good.
func sealed(b []byte) []byte {
	b = slices.Clone(b)
	switch {
	case len(b) == 32:
		seal(b, 8)
	case len(b) >= 88:
		seal(b[:88], 12)
	}
	for off := 88; off+56 <= len(b); {
		end := off + 56 + (int(le.Uint32(b[off+8:]))+7)/8*8
		if string(b[off:off+4]) != "dtcB" || end > len(b) {
			off += 8
			continue
		}
		le.PutUint32(b[off+4:], crc32.Checksum(b[off+8:end], table))
		off = end
	}
	return b
}

// seal makes the checksum good that stands at sum and covers all of b.
func seal(b []byte, sum int) {
	copy(b[sum:sum+4], make([]byte, 4))
	le.PutUint32(b[sum:], crc32.Checksum(b, table))
}
