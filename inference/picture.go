package inference

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"

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

// ReadPicture decodes a PNG, JPEG or WebP file, turned upright where EXIF says that it lies otherwise, with its ICC profile. One of more than maxPixels pixels is refused by its header alone. The
// error is an [*Error] of the kind [Unsupported], [Malformed] or [TooLarge].
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
		decoded, err := d.decode(bytes.NewReader(file))
		if err != nil {
			return nil, &Error{Kind: Malformed, Detail: "the image cannot be read: " + err.Error()}
		}
		m := readMetadata(file)
		p := fromImage(decoded).upright(m.orientation)
		if space := map[bool]string{true: "RGB ", false: "GRAY"}[p.inColour()]; m.space == space {
			p.profile = m.profile
		}
		return p, nil
	}
	return nil, &Error{Kind: Unsupported, Detail: "the body is not an image that is read here; allowed: image/png, image/jpeg, image/webp"}
}

func fromImage(decoded image.Image) *Picture {
	bounds := decoded.Bounds()
	p := &Picture{Width: bounds.Dx(), Height: bounds.Dy(), Channels: 1}
	switch decoded.ColorModel() {
	case color.GrayModel:
	case color.Gray16Model:
		p.deep = true
	case color.RGBA64Model, color.NRGBA64Model:
		p.deep, p.colour = true, true
	default:
		p.colour = true
	}
	size := p.Width * p.Height
	planes := make([]float32, 3*size)
	alpha := make([]uint16, size)
	grey, opaque := true, true
	for y := range p.Height {
		for x := range p.Width {
			c := straight(decoded.At(bounds.Min.X+x, bounds.Min.Y+y))
			i := y*p.Width + x
			planes[i], planes[size+i], planes[2*size+i] = unit(c.R), unit(c.G), unit(c.B)
			alpha[i] = c.A
			grey = grey && c.R == c.G && c.G == c.B
			opaque = opaque && c.A == math.MaxUint16
		}
	}
	p.Colours = planes[:size]
	if !grey {
		p.Channels, p.Colours = 3, planes
	}
	if !opaque {
		p.Alpha = alpha
	}
	return p
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

// encode writes the picture as a PNG of the colour type and depth that it came in, with the given chunks. Values outside 0…1 are clipped.
func (p *Picture) encode(text ...chunk) ([]byte, error) {
	var file bytes.Buffer
	if err := png.Encode(&file, p.image()); err != nil {
		return nil, err
	}
	if p.profile != nil {
		text = append(text, chunk{"iCCP", p.profile})
	}
	return insertChunks(file.Bytes(), text), nil
}

// inColour says whether the picture is written in colour.
func (p *Picture) inColour() bool { return p.colour || p.Alpha != nil }

// PNG is the picture as a file.
func (p *Picture) PNG() ([]byte, error) { return p.encode() }

func (p *Picture) image() image.Image {
	frame := image.Rect(0, 0, p.Width, p.Height)
	size := p.Width * p.Height
	at := func(channel, i int, most float32) float64 {
		v := p.Colours[channel*size+i]
		return math.RoundToEven(float64(min(max(v, 0), 1) * most))
	}
	last := p.Channels - 1
	switch {
	case !p.inColour() && !p.deep:
		grey := image.NewGray(frame)
		for i := range size {
			grey.Pix[i] = uint8(at(0, i, math.MaxUint8))
		}
		return grey
	case !p.inColour():
		grey := image.NewGray16(frame)
		for i := range size {
			v := uint16(at(0, i, math.MaxUint16))
			grey.Pix[2*i], grey.Pix[2*i+1] = uint8(v>>8), uint8(v)
		}
		return grey
	case !p.deep:
		rgb := image.NewNRGBA(frame)
		for i := range size {
			for c := range 3 {
				rgb.Pix[4*i+c] = uint8(at(min(c, last), i, math.MaxUint8))
			}
			rgb.Pix[4*i+3] = uint8(p.alpha(i) >> 8)
		}
		return rgb
	}
	rgb := image.NewNRGBA64(frame)
	for i := range size {
		for c := range 3 {
			v := uint16(at(min(c, last), i, math.MaxUint16))
			rgb.Pix[8*i+2*c], rgb.Pix[8*i+2*c+1] = uint8(v>>8), uint8(v)
		}
		rgb.Pix[8*i+6], rgb.Pix[8*i+7] = uint8(p.alpha(i)>>8), uint8(p.alpha(i))
	}
	return rgb
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
