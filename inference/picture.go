package inference

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"slices"

	"golang.org/x/image/webp"
)

// Picture is an image as pixels: one grey channel or three colours, each from 0 to 1.
type Picture struct {
	Width, Height int
	Channels      int       // 1 or 3
	Colours       []float32 // [Channels, Height, Width]
	Alpha         []uint16  // [Height, Width], 0xffff opaque; nil where all of it is

	deep    bool   // 16 bits a channel in the file
	colour  bool   // the file has colour, be the picture grey or not
	profile []byte // the ICC profile, as a PNG's iCCP chunk holds it
}

// with is the picture with other colours.
func (p *Picture) with(colours []float32) *Picture {
	changed := *p
	changed.Colours = colours
	return &changed
}

type decoder struct {
	magic  string
	config func(*bytes.Reader) (image.Config, error)
	decode func(*bytes.Reader) (image.Image, error)
}

const (
	magicPNG  = "\x89PNG\r\n\x1a\n"
	magicJPEG = "\xff\xd8"
	magicWebP = "RIFF"
)

var decoders = []decoder{
	{magicPNG,
		func(r *bytes.Reader) (image.Config, error) { return png.DecodeConfig(r) },
		func(r *bytes.Reader) (image.Image, error) { return png.Decode(r) }},
	{magicJPEG,
		func(r *bytes.Reader) (image.Config, error) { return jpeg.DecodeConfig(r) },
		func(r *bytes.Reader) (image.Image, error) { return jpeg.Decode(r) }},
	{magicWebP,
		func(r *bytes.Reader) (image.Config, error) { return webp.DecodeConfig(r) },
		func(r *bytes.Reader) (image.Image, error) { return webp.Decode(r) }},
}

// ReadPicture decodes a PNG, JPEG or WebP file, turned upright where EXIF says that it lies otherwise, with its ICC
// profile. One of more than maxPixels pixels is refused by its header alone. The error is an [*Error] of the kind
// [Unsupported], [Malformed] or [TooLarge].
func ReadPicture(file []byte, maxPixels int) (*Picture, error) {
	for _, d := range decoders {
		if !bytes.HasPrefix(file, []byte(d.magic)) {
			continue
		}
		config, err := d.config(bytes.NewReader(file))
		if err != nil {
			return nil, &Error{Kind: Malformed, Detail: "the image cannot be read: " + err.Error()}
		}
		if config.Width <= 0 || config.Height <= 0 {
			return nil, &Error{Kind: Malformed, Detail: "the image has no pixels"}
		}
		if config.Width > maxPixels/config.Height {
			return nil, &Error{Kind: TooLarge, Detail: fmt.Sprintf("the image is %d×%d pixels; allowed: at most %d pixels in all",
				config.Height, config.Width, maxPixels)}
		}
		m := readMetadata(file)
		decoded, err := d.decode(bytes.NewReader(file))
		if err != nil {
			return nil, &Error{Kind: Malformed, Detail: "the image cannot be read: " + err.Error()}
		}
		p := fromImage(decoded, m.orientation)
		if space := map[bool]string{true: "RGB ", false: "GRAY"}[p.inColour()]; m.space == space {
			p.profile = m.profile
		}
		return p, nil
	}
	return nil, &Error{Kind: Unsupported, Detail: "the body is not an image that is read here; allowed: image/png, image/jpeg, image/webp"}
}

// fromImage takes over an image's pixels, upright by EXIF's orientation of it.
func fromImage(decoded image.Image, orientation int) *Picture {
	bounds := decoded.Bounds()
	p := &Picture{Width: bounds.Dx(), Height: bounds.Dy(), Channels: 3}
	if orientation >= 5 {
		p.Width, p.Height = p.Height, p.Width
	}
	switch decoded.ColorModel() {
	case color.GrayModel:
		p.Channels = 1
	case color.Gray16Model:
		p.Channels, p.deep = 1, true
	case color.RGBA64Model, color.NRGBA64Model:
		p.deep, p.colour = true, true
	default:
		p.colour = true
	}
	size := p.Width * p.Height
	p.Colours = make([]float32, p.Channels*size)
	at, opaque := pixelsOf(decoded)
	if !opaque {
		p.Alpha = make([]uint16, size)
	}
	from := upright(orientation, bounds)
	grey := true
	for i := range size {
		c := at(from(i%p.Width, i/p.Width))
		grey = grey && c.R == c.G && c.G == c.B
		p.Colours[i] = unit(c.R)
		if p.Channels == 3 {
			p.Colours[size+i], p.Colours[2*size+i] = unit(c.G), unit(c.B)
		}
		if !opaque {
			p.Alpha[i] = c.A
		}
	}
	if grey {
		p.Channels, p.Colours = 1, p.Colours[:size]
	}
	return p
}

// pixelsOf reads an image's colours without their alpha multiplied in, and says whether all are opaque. Those of an
// opaque image come without an allocation for every pixel.
func pixelsOf(decoded image.Image) (at func(x, y int) color.NRGBA64, opaque bool) {
	if known, ok := decoded.(interface{ Opaque() bool }); ok {
		opaque = known.Opaque()
	}
	if fast, ok := decoded.(image.RGBA64Image); ok && opaque {
		return func(x, y int) color.NRGBA64 { return color.NRGBA64(fast.RGBA64At(x, y)) }, true
	}
	return func(x, y int) color.NRGBA64 { return straight(decoded.At(x, y)) }, opaque
}

// straight is a colour without its alpha multiplied in. The standard library's conversion multiplies and divides again,
// which loses bits of nearly transparent colours.
func straight(c color.Color) color.NRGBA64 {
	if c, ok := c.(color.NRGBA); ok {
		wide := func(v uint8) uint16 { return uint16(v)<<8 | uint16(v) }
		return color.NRGBA64{R: wide(c.R), G: wide(c.G), B: wide(c.B), A: wide(c.A)}
	}
	return color.NRGBA64Model.Convert(c).(color.NRGBA64)
}

func unit(v uint16) float32 { return float32(v) / math.MaxUint16 }

// encode writes the picture as a PNG of the colour type and depth that it came in, with the given chunks. Values outside
// 0…1 are clipped.
func (p *Picture) encode(text ...chunk) ([]byte, error) {
	if p.profile != nil {
		text = append(text, chunk{"iCCP", p.profile})
	}
	var file bytes.Buffer
	file.Grow(p.rawSize()) // untouched memory costs nothing, growing copies
	if err := png.Encode(&inserter{file: &file, left: headerSize, chunks: text}, raster{p}); err != nil {
		return nil, err
	}
	return file.Bytes(), nil
}

// rawSize is about how many bytes the file has if nothing in it can be compressed.
func (p *Picture) rawSize() int {
	samples := 1
	if p.inColour() {
		samples = 3
	}
	if p.Alpha != nil {
		samples = 4
	}
	if p.deep {
		samples *= 2
	}
	return p.Height * (p.Width*samples + 1)
}

// inColour says whether the picture is written in colour.
func (p *Picture) inColour() bool { return p.colour || p.Alpha != nil }

// PNG is the picture as a file.
func (p *Picture) PNG() ([]byte, error) { return p.encode() }

// raster shows a picture to the encoder pixel by pixel, so that none is copied as a whole.
type raster struct{ *Picture }

// Bounds implements [image.Image].
func (r raster) Bounds() image.Rectangle { return image.Rect(0, 0, r.Width, r.Height) }

// ColorModel implements [image.Image].
func (r raster) ColorModel() color.Model {
	switch {
	case !r.inColour() && !r.deep:
		return color.GrayModel
	case !r.inColour():
		return color.Gray16Model
	case !r.deep:
		return color.NRGBAModel
	}
	return color.NRGBA64Model
}

// Opaque tells the encoder to leave out the alpha.
func (r raster) Opaque() bool {
	return !slices.ContainsFunc(r.Alpha, func(v uint16) bool { return v>>8 < math.MaxUint8 || r.deep && v < math.MaxUint16 })
}

// At implements [image.Image].
func (r raster) At(x, y int) color.Color {
	i, size := y*r.Width+x, r.Width*r.Height
	value := func(channel int, most float32) float64 {
		v := r.Colours[min(channel, r.Channels-1)*size+i]
		return math.RoundToEven(float64(min(max(v, 0), 1) * most))
	}
	byte8 := func(channel int) uint8 { return uint8(value(channel, math.MaxUint8)) }
	byte16 := func(channel int) uint16 { return uint16(value(channel, math.MaxUint16)) }
	switch r.ColorModel() {
	case color.GrayModel:
		return color.Gray{byte8(0)}
	case color.Gray16Model:
		return color.Gray16{byte16(0)}
	case color.NRGBAModel:
		return color.NRGBA{byte8(0), byte8(1), byte8(2), uint8(r.alpha(i) >> 8)}
	}
	return color.NRGBA64{byte16(0), byte16(1), byte16(2), r.alpha(i)}
}

func (p *Picture) alpha(i int) uint16 {
	if p.Alpha == nil {
		return math.MaxUint16
	}
	return p.Alpha[i]
}

// enlarged repeats every pixel factor times in both directions.
func (p *Picture) enlarged(factor int) *Picture {
	if factor == 1 {
		return p
	}
	large := *p
	large.Width, large.Height = p.Width*factor, p.Height*factor
	large.Colours = make([]float32, p.Channels*large.Width*large.Height)
	if p.Alpha != nil {
		large.Alpha = make([]uint16, large.Width*large.Height)
	}
	for c := range p.Channels {
		for y := range large.Height {
			for x := range large.Width {
				from := (c*p.Height+y/factor)*p.Width + x/factor
				large.Colours[(c*large.Height+y)*large.Width+x] = p.Colours[from]
				if p.Alpha != nil && c == 0 {
					large.Alpha[y*large.Width+x] = p.Alpha[from]
				}
			}
		}
	}
	return &large
}
