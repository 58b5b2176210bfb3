package inference

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"slices"
	"testing"
)

// turned is an EXIF block whose first directory has one entry, the orientation, in either order of bytes.
func turned(order binary.ByteOrder, orientation uint16) []byte {
	head := map[bool]string{true: "II*\x00", false: "MM\x00*"}[order == binary.LittleEndian]
	block := append([]byte(head), make([]byte, 4+2+12+4)...)
	order.PutUint32(block[4:], 8)
	order.PutUint16(block[8:], 1)
	order.PutUint16(block[10:], 0x0112)
	order.PutUint16(block[12:], 3)
	order.PutUint32(block[14:], 1)
	order.PutUint16(block[18:], orientation)
	return block
}

// with is a PNG with further chunks.
func with(file []byte, chunks ...chunk) []byte {
	var more bytes.Buffer
	_, _ = (&inserter{file: &more, left: headerSize, chunks: chunks}).Write(file)
	return more.Bytes()
}

// TestOrientation turns a picture of six pixels upright from each way that it can lie.
func TestOrientation(t *testing.T) {
	lying := image.NewGray(image.Rect(0, 0, 3, 2))
	for i := range 6 {
		lying.Pix[i] = uint8(i + 1)
	}
	file := encoded(t, lying)
	for orientation, want := range map[uint16]string{
		0: "123/456", 1: "123/456", 2: "321/654", 3: "654/321", 4: "456/123",
		5: "14/25/36", 6: "41/52/63", 7: "63/52/41", 8: "36/25/14", 9: "123/456",
	} {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			p, err := ReadPicture(with(file, chunk{"eXIf", turned(order, orientation)}), 6)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for i, v := range p.Colours {
				if i > 0 && i%p.Width == 0 {
					got += "/"
				}
				got += fmt.Sprint(int(v*255 + 0.5))
			}
			if got != want {
				t.Errorf("orientation %d: %s, want %s", orientation, got, want)
			}
			if back, err := p.PNG(); err != nil || bytes.Contains(back, []byte("eXIf")) {
				t.Errorf("orientation %d: the tag is still there, or %v", orientation, err)
			}
		}
	}
}

// TestMetadataIsRead has files whose metadata is cut, damaged or of no use: the picture is read all the same.
func TestMetadataIsRead(t *testing.T) {
	exif := turned(binary.LittleEndian, 6)
	for i := range exif {
		if got := orientation(exif[:i]); got != 1 && i < 20 {
			t.Errorf("%d bytes of EXIF: orientation %d", i, got)
		}
	}
	binary.LittleEndian.PutUint32(exif[4:], 1<<31)
	if got := orientation(exif); got != 1 {
		t.Errorf("a directory far away: orientation %d", got)
	}
	file := encoded(t, image.NewGray(image.Rect(0, 0, 3, 2)))
	for _, data := range []string{"", "x", "name\x00", "name\x00\x00damaged", "\x00\x00"} {
		p, err := ReadPicture(with(file, chunk{"iCCP", []byte(data)}), 6)
		if err == nil && p.profile != nil {
			t.Errorf("the profile %q is kept", data)
		}
	}
}

// profile is what begins like one for a colour space, too long for one segment of a JPEG.
func profile(space string) []byte {
	p := make([]byte, 70_000)
	for i := range p {
		p[i] = byte(i * i / 7)
	}
	copy(p[16:], space)
	return p
}

// withSegments puts a JPEG's segments behind its beginning.
func withSegments(file []byte, kind byte, segments ...[]byte) []byte {
	out := slices.Clone(file[:2])
	for _, s := range segments {
		out = append(out, 0xff, kind)
		out = binary.BigEndian.AppendUint16(out, uint16(len(s)+2))
		out = append(out, s...)
	}
	return append(out, file[2:]...)
}

// TestOrientationOfJPEG: the tag of a JPEG, which has it in a segment of its own, turns it too.
func TestOrientationOfJPEG(t *testing.T) {
	lying := image.NewGray(image.Rect(0, 0, 32, 16))
	for i := range lying.Pix {
		if i%32 < 16 { // white on its left
			lying.Pix[i] = 255
		}
	}
	var file bytes.Buffer
	if err := jpeg.Encode(&file, lying, nil); err != nil {
		t.Fatal(err)
	}
	p, err := ReadPicture(withSegments(file.Bytes(), 0xe1, append([]byte("Exif\x00\x00"), turned(binary.BigEndian, 6)...)), 512)
	if err != nil {
		t.Fatal(err)
	}
	top, bottom := p.Colours[2*16+8], p.Colours[29*16+8]
	if p.Width != 16 || p.Height != 32 || top < 0.9 || bottom > 0.1 {
		t.Errorf("%d×%d pixels, %g above and %g below", p.Height, p.Width, top, bottom)
	}
}

// TestProfileIsCopied sends pictures with an ICC profile: the answer has the same, if it goes with the answer's colours.
func TestProfileIsCopied(t *testing.T) {
	var colour, grey bytes.Buffer
	painting := painted(image.NewNRGBA(frame), func(i uint16) color.Color { return color.NRGBA{uint8(17 * i), 3, 200, 255} })
	if err := jpeg.Encode(&colour, painting, nil); err != nil {
		t.Fatal(err)
	}
	if err := jpeg.Encode(&grey, image.NewGray(frame), nil); err != nil {
		t.Fatal(err)
	}
	inJPEG := func(file []byte, p []byte) []byte {
		head := "ICC_PROFILE\x00"
		// The numbers say how the two belong together, not their order in the file.
		return withSegments(file, 0xe2, append([]byte(head+"\x02\x02"), p[40_000:]...), append([]byte(head+"\x01\x02"), p[:40_000]...))
	}
	var m metadata
	m.take(profile("RGB "))
	webp, err := os.ReadFile("testdata/photo.webp")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		file   []byte
		copied bool
	}{
		{"colour JPEG", inJPEG(colour.Bytes(), profile("RGB ")), true},
		{"colour JPEG with a profile for ink", inJPEG(colour.Bytes(), profile("CMYK")), false},
		{"grey JPEG", inJPEG(grey.Bytes(), profile("GRAY")), true},
		{"grey JPEG with a profile for colour", inJPEG(grey.Bytes(), profile("RGB ")), false},
		{"PNG", with(encoded(t, painting), chunk{"iCCP", m.profile}), true},
		{"WebP", webp, true},
		{"none", colour.Bytes(), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := ReadPicture(c.file, 15)
			if err != nil {
				t.Fatal(err)
			}
			back, err := p.PNG()
			if err != nil {
				t.Fatal(err)
			}
			types, _ := chunks(t, back)
			if got := slices.Contains(types, "iCCP"); got != c.copied {
				t.Errorf("chunks %v", types)
			}
			again, err := ReadPicture(back, 15)
			if err != nil || !bytes.Equal(again.profile, p.profile) {
				t.Errorf("the profile has %d bytes, and %d were sent: %v", len(again.profile), len(p.profile), err)
			}
		})
	}
	p, err := ReadPicture(webp, 15)
	if err != nil || p.Width != 2 || p.Height != 3 {
		t.Errorf("the WebP is %+v, %v", p, err)
	}
}

// TestPaletteBecomesColour sends a PNG with a palette.
func TestPaletteBecomesColour(t *testing.T) {
	colours := color.Palette{color.NRGBA{200, 10, 30, 255}, color.NRGBA{1, 2, 3, 255}}
	indexed := image.NewPaletted(frame, colours)
	indexed.Pix[3] = 1
	p, err := ReadPicture(encoded(t, indexed), 15)
	if err != nil {
		t.Fatal(err)
	}
	back, err := p.PNG()
	if err != nil {
		t.Fatal(err)
	}
	// Byte 25 of a PNG is its colour type: 2 is RGB.
	if back[25] != 2 || p.Channels != 3 || p.Colours[3] != 1./255 || p.Colours[0] != 200./255 {
		t.Errorf("colour type %d, first values %v", back[25], p.Colours[:4])
	}
}
