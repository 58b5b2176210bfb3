package inferencetest

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/png"
	"math"
	"strings"
	"testing"
)

// GreyPNG is the file of a grey picture of one value.
func GreyPNG(t testing.TB, height, width int, value uint8) string {
	t.Helper()
	picture := image.NewGray(image.Rect(0, 0, width, height))
	for i := range picture.Pix {
		picture.Pix[i] = value
	}
	var file bytes.Buffer
	if err := png.Encode(&file, picture); err != nil {
		t.Fatal(err)
	}
	return file.String()
}

// Claiming changes the size that a PNG's header claims.
func Claiming(file string, width, height uint32) string {
	changed := []byte(file)
	binary.BigEndian.PutUint32(changed[16:], width)
	binary.BigEndian.PutUint32(changed[20:], height)
	binary.BigEndian.PutUint32(changed[29:], crc32.ChecksumIEEE(changed[12:29]))
	return string(changed)
}

// Difference is the root mean square difference of two grey pictures in 8-bit units. The files must be 8-bit grey PNGs.
func Difference(t testing.TB, a, b string) float64 {
	t.Helper()
	var pictures [2]*image.Gray
	for i, file := range []string{a, b} {
		picture, err := png.Decode(strings.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		grey, ok := picture.(*image.Gray)
		if !ok {
			t.Fatalf("the picture is a %T", picture)
		}
		pictures[i] = grey
	}
	sum := 0.0
	for i := range pictures[0].Pix {
		d := float64(pictures[0].Pix[i]) - float64(pictures[1].Pix[i])
		sum += d * d
	}
	return math.Sqrt(sum / float64(len(pictures[0].Pix)))
}
