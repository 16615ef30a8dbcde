// Values of GE: texts, shapes and tensors.
#include "ge.h"

#include <cstring>

namespace ge {
StatusFactory *StatusFactory::Instance() {
    static StatusFactory *factory = new StatusFactory;
    return factory;
}

// --- AscendString ---

AscendString::AscendString(const char *text)
    : text(std::make_shared<std::string>(text ? text : "")) {}

const char *AscendString::GetString() const { return text ? text->c_str() : ""; }

bool AscendString::operator<(const AscendString &other) const {
    return std::strcmp(GetString(), other.GetString()) < 0;
}

// --- Shape ---

Shape::Shape() : dims(std::make_shared<std::vector<int64_t>>()) {}

Shape::Shape(const std::vector<int64_t> &dims)
    : dims(std::make_shared<std::vector<int64_t>>(dims)) {}

size_t Shape::GetDimNum() const { return dims->size(); }

Status Shape::SetDim(size_t index, int64_t value) {
    if (index < dims->size()) (*dims)[index] = value;
    return 0;
}

int64_t Shape::GetDim(size_t index) const { return index < dims->size() ? (*dims)[index] : 0; }

std::vector<int64_t> Shape::GetDims() const { return *dims; }

// --- TensorDesc ---

struct TensorDesc::Facts {
    Shape shape;
    Format format{};
    DataType type{};
};

TensorDesc::TensorDesc() : facts(std::make_shared<Facts>()) {}

TensorDesc::TensorDesc(Shape shape, Format format, DataType type)
    : facts(std::make_shared<Facts>(Facts{shape, format, type})) {}

TensorDesc::TensorDesc(const TensorDesc &other) : facts(std::make_shared<Facts>(*other.facts)) {}

TensorDesc::TensorDesc(TensorDesc &&other) : facts(other.facts) {}

Shape TensorDesc::GetShape() const { return facts->shape; }

Shape TensorDesc::GetOriginShape() const { return facts->shape; }

void TensorDesc::SetShape(const Shape &shape) { facts->shape = Shape(shape.GetDims()); }

DataType TensorDesc::GetDataType() const { return facts->type; }

void TensorDesc::SetDataType(DataType type) { facts->type = type; }

Format TensorDesc::GetFormat() const { return facts->format; }

// --- Tensor ---

struct Tensor::Facts {
    TensorDesc desc;
    uint8_t *data = nullptr;
    size_t bytes = 0;
    DeleteFunc remove;
    ~Facts() {
        if (data && remove) remove(data);
    }
};

Tensor::Tensor() : facts(std::make_shared<Facts>()) {}

Tensor::Tensor(const TensorDesc &desc) : Tensor() { facts->desc = desc; }

Tensor::Tensor(const TensorDesc &desc, const uint8_t *data, size_t bytes) : Tensor(desc) {
    SetData(data, bytes);
}

TensorDesc Tensor::GetTensorDesc() const { return facts->desc; }

Status Tensor::SetTensorDesc(const TensorDesc &desc) {
    facts->desc = desc;
    return 0;
}

uint8_t *Tensor::GetData() { return facts->data; }

size_t Tensor::GetSize() const { return facts->bytes; }

Status Tensor::SetData(const uint8_t *data, size_t bytes) {
    auto copy = new uint8_t[bytes];
    std::memcpy(copy, data, bytes);
    return SetData(copy, bytes, [](uint8_t *memory) { delete[] memory; });
}

Status Tensor::SetData(uint8_t *data, size_t bytes, const DeleteFunc &remove) {
    if (facts->data && facts->remove) facts->remove(facts->data);
    facts->data = data;
    facts->bytes = bytes;
    facts->remove = remove;
    return 0;
}

std::unique_ptr<uint8_t[], Tensor::DeleteFunc> Tensor::ResetData() {
    std::unique_ptr<uint8_t[], DeleteFunc> data(facts->data, facts->remove);
    facts->data = nullptr;
    facts->bytes = 0;
    return data;
}

// --- what operators say of their types ---

TensorType::TensorType(const std::initializer_list<DataType> &) {}

Promote::Promote(const std::initializer_list<const char *> &) {}

GraphBuffer::GraphBuffer() {}

GraphBuffer::~GraphBuffer() {}
}  // namespace ge
