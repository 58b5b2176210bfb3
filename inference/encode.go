package inference

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
)

// provenance is what a drawn PNG says of itself: with the same bundle and versions the recipe draws it again.
type provenance struct {
	Request  Recipe `json:"request"`
	Checksum string `json:"checksum"`
	Version  string `json:"denoised"`
	Runtime  string `json:"runtime"`
	Device   string `json:"device"`
}

func describe(recipe Recipe, m *Model, version string) (chunk, error) {
	text, err := json.Marshal(provenance{
		Request: recipe, Checksum: m.Bundle.Checksum, Version: version, Runtime: m.Runtime, Device: m.Device,
	})
	return textChunk("denoised", string(text)), err
}

// picture turns the image's tensor into pixels, as large as the recipe asks.
func (i Image) picture() *Picture {
	size := i.Shape[1] * i.Shape[2]
	p := &Picture{Width: i.Shape[2], Height: i.Shape[1], Channels: min(i.Shape[0], 3), colour: i.Shape[0] > 1}
	low, span := i.model.pixelRange()
	p.Colours = make([]float32, p.Channels*size)
	for k := range p.Colours {
		p.Colours[k] = (i.Tensor[k] - low) / span
	}
	if i.Shape[0] == 4 {
		p.Alpha = make([]uint16, size)
		for k, v := range i.Tensor[3*size:] {
			p.Alpha[k] = uint16(math.RoundToEven(float64(min(max((v-low)/span, 0), 1)) * math.MaxUint16))
		}
	}
	return p.enlarged(i.Recipe.Scale)
}

// PNG is the image as a file that carries its recipe.
func (i Image) PNG() ([]byte, error) {
	text, err := describe(i.Recipe, i.model, i.version)
	if err != nil {
		return nil, err
	}
	return i.picture().encode(text)
}

// margin lies between the images of a sheet, in pixels of the models, and shade is its colour.
const (
	margin = 1
	shade  = 0.35
)

// columns is how many images stand side by side on a sheet.
func (r Recipe) columns() int {
	if n := len(r.Labels); n > 1 {
		return n
	}
	return int(math.Ceil(math.Sqrt(float64(r.Count))))
}

// PictureSize is the size of the one picture that shows all images of the recipe: a sheet, where there are several.
func (r Recipe) PictureSize() (height, width int) {
	height, width = r.Size[0]*r.Scale, r.Size[1]*r.Scale
	if r.Count == 1 {
		return height, width
	}
	columns, gap := r.columns(), margin*r.Scale
	rows := (r.Count + columns - 1) / columns
	return rows*(height+gap) + gap, columns*(width+gap) + gap
}

// PNG is all the images of the result in one file: a single one as it is, several on a contact sheet. Where labels were
// dealt in turn, each has a column of its own.
func (r *Result) PNG() ([]byte, error) {
	if len(r.Images) == 1 {
		return r.Images[0].PNG()
	}
	columns, gap := r.Recipe.columns(), margin*r.Recipe.Scale
	first := r.Images[0].picture()
	sheet := *first
	sheet.Alpha = nil
	sheet.Height, sheet.Width = r.Recipe.PictureSize()
	sheet.Colours = make([]float32, sheet.Channels*sheet.Width*sheet.Height)
	for i := range sheet.Colours {
		sheet.Colours[i] = shade
	}
	for i, image := range r.Images {
		sheet.paste(image.picture(), gap+i%columns*(first.Width+gap), gap+i/columns*(first.Height+gap))
	}
	text, err := describe(r.Recipe, r.Model, r.Images[0].version)
	if err != nil {
		return nil, err
	}
	return sheet.encode(text)
}

// paste lays a picture over this one, with its top left corner at (left, top). What is transparent lets the sheet
// through.
func (p *Picture) paste(small *Picture, left, top int) {
	for c := range p.Channels {
		for y := range small.Height {
			for x := range small.Width {
				to := &p.Colours[(c*p.Height+top+y)*p.Width+left+x]
				cover := unit(small.alpha(y*small.Width + x))
				*to = float32(cover*small.Colours[(c*small.Height+y)*small.Width+x]) + float32((1-cover)**to)
			}
		}
	}
}

// NPY is the images' tensors in NumPy's format (version 1.0): float32 [images, channels, height, width] in the model's
// units, neither clipped nor enlarged.
func (r *Result) NPY() []byte {
	shape := r.Images[0].Shape
	header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d, %d, %d), }",
		len(r.Images), shape[0], shape[1], shape[2])
	const magic = "\x93NUMPY\x01\x00"
	// The data begins at a multiple of 64 bytes; the header ends with a newline.
	used := len(magic) + 2 + len(header) + 1
	header += strings.Repeat(" ", (64-used%64)%64) + "\n"
	file := binary.LittleEndian.AppendUint16([]byte(magic), uint16(len(header)))
	file = append(file, header...)
	for _, image := range r.Images {
		for _, v := range image.Tensor {
			file = binary.LittleEndian.AppendUint32(file, math.Float32bits(v))
		}
	}
	return file
}

// A chunk is a part of a PNG file.
type chunk struct {
	kind string // four letters
	data []byte
}

// textChunk is an iTXt entry: a keyword of Latin letters and a text in UTF-8.
func textChunk(keyword, text string) chunk {
	// Behind the keyword: not compressed, method 0, no language, no translated keyword.
	return chunk{"iTXt", []byte(keyword + "\x00\x00\x00\x00\x00" + text)}
}

// headerSize is that of a PNG's signature and of IHDR's length, type, content and checksum, behind which other chunks
// may begin.
const headerSize = 8 + 4 + 4 + 13 + 4

// inserter puts chunks behind the header of a PNG that is written through it.
type inserter struct {
	file   *bytes.Buffer
	left   int // of the header
	chunks []chunk
}

// Write implements [io.Writer].
func (w *inserter) Write(part []byte) (int, error) {
	header := part[:min(w.left, len(part))]
	w.file.Write(header)
	w.left -= len(header)
	if w.left == 0 {
		for _, c := range w.chunks {
			c.writeTo(w.file)
		}
		w.chunks = nil
	}
	w.file.Write(part[len(header):])
	return len(part), nil
}

func (c chunk) writeTo(file *bytes.Buffer) {
	body := append([]byte(c.kind), c.data...)
	file.Write(binary.BigEndian.AppendUint32(nil, uint32(len(c.data))))
	file.Write(body)
	file.Write(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(body)))
}
