package inference

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"image"
	"io"
	"slices"
)

// metadata is what a file says of its pixels beside them, as far as an answer can say it too.
type metadata struct {
	orientation int    // EXIF's, 1 to 8; 1 where it is absent or makes no sense
	profile     []byte // the ICC profile as a PNG's iCCP chunk holds it; nil where there is none
	space       string // the profile's, RGB or GRAY with a blank
}

// maxProfile bounds the profile that is carried along. Those of cameras and editors have at most a few megabytes.
const maxProfile = 4 << 20

func readMetadata(file []byte) metadata {
	m := metadata{orientation: 1}
	switch {
	case bytes.HasPrefix(file, []byte(magicPNG)):
		m.readPNG(file)
	case bytes.HasPrefix(file, []byte(magicJPEG)):
		m.readJPEG(file)
	default:
		m.readWebP(file)
	}
	return m
}

func (m *metadata) readPNG(file []byte) {
	for rest := file[len(magicPNG):]; len(rest) >= 12; {
		length := int(binary.BigEndian.Uint32(rest))
		if length < 0 || length > len(rest)-12 {
			return
		}
		kind, data := string(rest[4:8]), rest[8:8+length]
		switch kind {
		case "iCCP":
			m.takeCompressed(data)
		case "eXIf":
			m.orientation = orientation(data)
		case "IEND":
			return
		}
		rest = rest[12+length:]
	}
}

// readJPEG walks the segments before the picture. A profile may be cut into several, each with its number and theirs.
func (m *metadata) readJPEG(file []byte) {
	const exif, icc = "Exif\x00\x00", "ICC_PROFILE\x00"
	var parts [256][]byte // of the profile, by their numbers
	for rest := file[2:]; len(rest) >= 4 && rest[0] == 0xff; {
		if rest[1] == 0xff { // fill
			rest = rest[1:]
			continue
		}
		length := int(binary.BigEndian.Uint16(rest[2:]))
		if rest[1] == 0xda || length < 2 || length+2 > len(rest) {
			break
		}
		data := rest[4 : 2+length]
		switch {
		case rest[1] == 0xe1 && bytes.HasPrefix(data, []byte(exif)):
			m.orientation = orientation(data[len(exif):])
		case rest[1] == 0xe2 && bytes.HasPrefix(data, []byte(icc)) && len(data) > len(icc)+2:
			parts[data[len(icc)]] = data[len(icc)+2:]
		}
		rest = rest[2+length:]
	}
	m.take(slices.Concat(parts[:]...))
}

func (m *metadata) readWebP(file []byte) {
	for rest := file[min(12, len(file)):]; len(rest) >= 8; {
		length := int(binary.LittleEndian.Uint32(rest[4:]))
		if length < 0 || length > len(rest)-8 {
			return
		}
		data := rest[8 : 8+length]
		switch string(rest[:4]) {
		case "ICCP":
			m.take(data)
		case "EXIF":
			m.orientation = orientation(bytes.TrimPrefix(data, []byte("Exif\x00\x00")))
		}
		rest = rest[min(8+length+length%2, len(rest)):]
	}
}

// take keeps a profile as a PNG does: under a name, compressed.
func (m *metadata) take(profile []byte) {
	if len(profile) < 128 || len(profile) > maxProfile {
		return
	}
	var chunk bytes.Buffer
	chunk.WriteString("icc\x00\x00")
	w := zlib.NewWriter(&chunk)
	_, _ = w.Write(profile) // a buffer takes everything
	_ = w.Close()
	m.profile, m.space = chunk.Bytes(), string(profile[16:20])
}

// takeCompressed keeps a PNG's profile as it is, after a look at its header, which needs 128 bytes of it.
func (m *metadata) takeCompressed(data []byte) {
	name := bytes.IndexByte(data, 0)
	if name < 1 || name > 79 || len(data) < name+2 || len(data) > maxProfile {
		return
	}
	r, err := zlib.NewReader(bytes.NewReader(data[name+2:]))
	if err != nil {
		return
	}
	header := make([]byte, 128)
	if _, err := io.ReadFull(r, header); err != nil {
		return
	}
	m.profile, m.space = bytes.Clone(data), string(header[16:20])
}

// orientation is the entry of that name in the first directory of a TIFF structure, which EXIF is.
func orientation(tiff []byte) int {
	const tag, short, entry = 0x0112, 3, 12
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(tiff, []byte("II*\x00")):
		order = binary.LittleEndian
	case bytes.HasPrefix(tiff, []byte("MM\x00*")):
		order = binary.BigEndian
	default:
		return 1
	}
	if len(tiff) < 8 {
		return 1
	}
	at := int64(order.Uint32(tiff[4:]))
	if at+2 > int64(len(tiff)) {
		return 1
	}
	entries := tiff[at+2:]
	for range order.Uint16(tiff[at:]) {
		if len(entries) < entry {
			return 1
		}
		if order.Uint16(entries) == tag && order.Uint16(entries[2:]) == short {
			if v := int(order.Uint16(entries[8:])); v >= 1 && v <= 8 {
				return v
			}
			return 1
		}
		entries = entries[entry:]
	}
	return 1
}

// upright tells where in a file's image the pixel lies that is to be seen at (x, y), given EXIF's orientation of it: 5 to
// 8 are turned by a quarter, and 2, 4, 5 and 7 are mirrored.
func upright(orientation int, bounds image.Rectangle) func(x, y int) (int, int) {
	left, top, right, bottom := bounds.Min.X, bounds.Min.Y, bounds.Max.X-1, bounds.Max.Y-1
	return func(x, y int) (int, int) {
		switch orientation {
		case 2:
			return right - x, top + y
		case 3:
			return right - x, bottom - y
		case 4:
			return left + x, bottom - y
		case 5:
			return left + y, top + x
		case 6:
			return left + y, bottom - x
		case 7:
			return right - y, bottom - x
		case 8:
			return right - y, top + x
		}
		return left + x, top + y
	}
}
