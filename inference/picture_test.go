package inference

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"strings"
	"testing"

	"denoised/inference/inferencetest"
)

func encoded(t *testing.T, m image.Image) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := png.Encode(&file, m); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// painted fills an image of 5×3 pixels with colours that all differ.
func painted(m interface {
	image.Image
	Set(x, y int, c color.Color)
}, colour func(i uint16) color.Color) image.Image {
	for i := range 15 {
		m.Set(i%5, i/5, colour(uint16(i)))
	}
	return m
}

var frame = image.Rect(0, 0, 5, 3)

// TestPicturesComeBackAsTheyWere reads and writes each kind of PNG: nothing about it may change.
func TestPicturesComeBackAsTheyWere(t *testing.T) {
	for _, c := range []struct {
		name  string
		image image.Image
	}{
		{"grey", painted(image.NewGray(frame), func(i uint16) color.Color { return color.Gray{uint8(17 * i)} })},
		{"grey, 16 bits", painted(image.NewGray16(frame), func(i uint16) color.Color { return color.Gray16{4001 * i} })},
		{"colour", painted(image.NewNRGBA(frame), func(i uint16) color.Color { return color.NRGBA{uint8(17 * i), uint8(3 * i), 200, 255} })},
		{"colour that is grey", painted(image.NewNRGBA(frame), func(i uint16) color.Color { return color.NRGBA{uint8(9 * i), uint8(9 * i), uint8(9 * i), 255} })},
		{"transparent", painted(image.NewNRGBA(frame), func(i uint16) color.Color { return color.NRGBA{uint8(17 * i), 10, 200, uint8(1 + 16*i)} })},
		{"colour, 16 bits", painted(image.NewNRGBA64(frame), func(i uint16) color.Color { return color.NRGBA64{4001 * i, 77, 60000, 65535} })},
		{"transparent, 16 bits", painted(image.NewNRGBA64(frame), func(i uint16) color.Color { return color.NRGBA64{4001 * i, 77, 60000, 1 + 4000*i} })},
	} {
		t.Run(c.name, func(t *testing.T) {
			sent := encoded(t, c.image)
			picture, err := ReadPicture(sent, 15)
			if err != nil {
				t.Fatal(err)
			}
			back, err := picture.PNG()
			if err != nil {
				t.Fatal(err)
			}
			before, _ := png.Decode(bytes.NewReader(sent))
			after, err := png.Decode(bytes.NewReader(back))
			if err != nil {
				t.Fatal(err)
			}
			if before.ColorModel() != after.ColorModel() || before.Bounds() != after.Bounds() {
				t.Fatalf("a %T became a %T", before, after)
			}
			for i := range 15 {
				if a, b := before.At(i%5, i/5), after.At(i%5, i/5); a != b {
					t.Errorf("pixel %d was %v and is %v", i, a, b)
				}
			}
		})
	}
}

func TestReadPictureRefuses(t *testing.T) {
	whole := encoded(t, painted(image.NewGray(frame), func(i uint16) color.Color { return color.Gray{uint8(i)} }))
	var photograph bytes.Buffer
	if err := jpeg.Encode(&photograph, image.NewGray(frame), nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		file []byte
		kind Kind
		want string
	}{
		{"text", []byte("not an image"), Unsupported, "the body is not an image that is read here; allowed: image/png, image/jpeg, image/webp"},
		{"nothing", nil, Unsupported, "the body is not an image that is read here; allowed: image/png, image/jpeg, image/webp"},
		{"a cut header", whole[:20], Malformed, "the image cannot be read: unexpected EOF"},
		{"a cut body", whole[:50], Malformed, "the image cannot be read: png: invalid format: not enough pixel data"},
		{"a cut JPEG", photograph.Bytes()[:200], Malformed, "the image cannot be read: unexpected EOF"},
		{"a WebP in name only", []byte("RIFF\x04\x00\x00\x00WAVE"), Malformed, "the image cannot be read: webp: invalid format"},
		{"a bomb", []byte(inferencetest.Claiming(string(whole), 60000, 60000)), TooLarge, "the image is 60000×60000 pixels; allowed: at most 15 pixels in all"},
		{"one pixel column too many", encoded(t, image.NewGray(image.Rect(0, 0, 6, 3))), TooLarge,
			"the image is 3×6 pixels; allowed: at most 15 pixels in all"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ReadPicture(c.file, 15)
			if err == nil || KindOf(err) != c.kind || err.Error() != c.want {
				t.Errorf("kind %v: %v", KindOf(err), err)
			}
		})
	}
}

// chunks lists a PNG's chunks, each of whose checksums must hold.
func chunks(t *testing.T, file []byte) (types []string, text string) {
	t.Helper()
	for rest := file[8:]; len(rest) > 0; {
		length := binary.BigEndian.Uint32(rest)
		body := rest[4 : 8+length]
		if crc32.ChecksumIEEE(body) != binary.BigEndian.Uint32(rest[8+length:]) {
			t.Fatalf("the checksum of %s is wrong", body[:4])
		}
		types = append(types, string(body[:4]))
		if string(body[:4]) == "iTXt" {
			text = string(body[4:])
		}
		rest = rest[12+length:]
	}
	return types, text
}

func TestDrawnPNG(t *testing.T) {
	p := serve(t, inferencetest.Bundle("ten", 8), inferencetest.NewGaussian(t))
	request := Request{Labels: []string{"7"}, Seed: ptr(uint32(1)), Scale: ptr(3)}
	file := pngOf(t, generate(t, p, request).Images[0])
	types, text := chunks(t, file)
	if got := strings.Join(types, " "); got != "IHDR iTXt IDAT IEND" {
		t.Errorf("chunks %s", got)
	}
	keyword, content, _ := strings.Cut(text, "\x00\x00\x00\x00\x00")
	var said struct {
		Request                             json.RawMessage
		Checksum, Denoised, Runtime, Device string
	}
	if err := json.Unmarshal([]byte(content), &said); err != nil || keyword != "denoised" {
		t.Fatalf("%q: %v", text, err)
	}
	const want = `{"model":"ten","label":"7","count":1,"seed":1,"steps":10,"sampler":"ddim","eta":0,` +
		`"schedule":"native","spacing":"trailing","size":[8,8],"scale":3,"guidance_scale":2,"guidance_rescale":0}`
	if string(said.Request) != want || said.Checksum != inferencetest.Checksum || said.Denoised != "test" || said.Runtime != "exact answer" || said.Device != "cpu" {
		t.Errorf("the picture says %+v, request %s", said, said.Request)
	}
	drawn, err := png.Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if drawn.Bounds() != image.Rect(0, 0, 24, 24) {
		t.Errorf("8×8 pixels at scale 3 became %v", drawn.Bounds())
	}
}

// TestQuantisation is diffusers': (x/2 + 1/2) clipped to 0…1, times 255, rounded half to even.
func TestQuantisation(t *testing.T) {
	b := inferencetest.Bundle("ten", 8)
	values := []float32{-3, -1, -1 + 1.0/255, 0, 0.5, 1, 7, 1 - 3.0/255}
	want := []uint8{0, 0, 0, 128, 191, 255, 255, 254}
	drawn := Image{Recipe: Recipe{Scale: 1}, Shape: [3]int{1, 1, len(values)}, Tensor: values, model: &Model{Bundle: b}}
	for i := range want {
		if got := (raster{drawn.picture()}).At(i, 0); got != (color.Gray{want[i]}) {
			t.Errorf("%g became %v, want %d", values[i], got, want[i])
		}
	}
}

// TestSheet draws four images of two labels: two columns, each with its label's images, in the order of their seeds.
func TestSheet(t *testing.T) {
	p := serve(t, inferencetest.Bundle("ten", 8), inferencetest.NewGaussian(t))
	result := generate(t, p, Request{Labels: []string{"1", "2"}, Count: ptr(4), Seed: ptr(uint32(1))})
	file, err := result.PNG()
	if err != nil {
		t.Fatal(err)
	}
	sheet, err := png.Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if sheet.Bounds() != image.Rect(0, 0, 2*9+1, 2*9+1) {
		t.Fatalf("the sheet is %v", sheet.Bounds())
	}
	for i, drawn := range result.Images {
		small := raster{drawn.picture()}
		left, top := 1+i%2*9, 1+i/2*9
		for k := range 64 {
			if got, want := sheet.At(left+k%8, top+k/8), small.At(k%8, k/8); got != want {
				t.Fatalf("image %d, pixel %d: %v, want %v", i, k, got, want)
			}
		}
	}
	if _, text := chunks(t, file); !strings.Contains(text, `"label":["1","2"],"count":4,"seed":1`) {
		t.Errorf("the sheet says %s", text)
	}
}

func TestNPY(t *testing.T) {
	p := serve(t, inferencetest.Bundle("ten", 8), inferencetest.NewGaussian(t))
	result := generate(t, p, Request{Count: ptr(2), Scale: ptr(4)})
	file := result.NPY()
	length := int(binary.LittleEndian.Uint16(file[8:]))
	header, data := string(file[10:10+length]), file[10+length:]
	if !strings.HasPrefix(header, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1, 8, 8), }") || (10+length)%64 != 0 || header[length-1] != '\n' {
		t.Errorf("header %q", header)
	}
	if len(data) != 2*64*4 {
		t.Fatalf("%d bytes of data", len(data))
	}
	for i := range 64 {
		if got := math.Float32frombits(binary.LittleEndian.Uint32(data[(64+i)*4:])); got != result.Images[1].Tensor[i] {
			t.Fatalf("value %d is %g", i, got)
		}
	}
}
