// The classes of GE, the graph engine of CANN, as far as MindSpore's plugin uses them.
//
// Sizes and virtual functions are those that the plugin was compiled with: nearly every object is
// one shared pointer. Everything is defined in ge.cc and nothing inline, as the plugin asks for all of
// it by name.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ge {
using Status = uint32_t;
enum DataType : int {};
enum Format : int {};
enum Placement : int {};

class StatusFactory {
   public:
    static StatusFactory *Instance();

   private:
    std::map<uint32_t, std::string> descriptions;
};

class AscendString {
   public:
    AscendString(const char *text);
    const char *GetString() const;
    bool operator<(const AscendString &other) const;

   private:
    std::shared_ptr<std::string> text;
};

class Shape {
   public:
    Shape();
    explicit Shape(const std::vector<int64_t> &dims);
    size_t GetDimNum() const;
    Status SetDim(size_t index, int64_t value);
    int64_t GetDim(size_t index) const;
    std::vector<int64_t> GetDims() const;

   private:
    std::shared_ptr<std::vector<int64_t>> dims;
};

class TensorDesc {
   public:
    TensorDesc();
    TensorDesc(Shape shape, Format format, DataType type);
    TensorDesc(const TensorDesc &other);
    TensorDesc(TensorDesc &&other);
    TensorDesc &operator=(const TensorDesc &other) = default;
    Shape GetShape() const;
    Shape GetOriginShape() const;
    void SetShape(const Shape &shape);
    DataType GetDataType() const;
    void SetDataType(DataType type);
    Format GetFormat() const;

   private:
    struct Facts;
    std::shared_ptr<Facts> facts;
};

class Tensor {
   public:
    using DeleteFunc = std::function<void(uint8_t *)>;
    Tensor();
    explicit Tensor(const TensorDesc &desc);
    Tensor(const TensorDesc &desc, const uint8_t *data, size_t bytes);
    TensorDesc GetTensorDesc() const;
    Status SetTensorDesc(const TensorDesc &desc);
    uint8_t *GetData();
    size_t GetSize() const;
    Status SetData(const uint8_t *data, size_t bytes);
    Status SetData(uint8_t *data, size_t bytes, const DeleteFunc &remove);
    std::unique_ptr<uint8_t[], DeleteFunc> ResetData();

   private:
    struct Facts;
    std::shared_ptr<Facts> facts;
};

class OperatorImpl;

class Operator {
   public:
    explicit Operator(const std::string &type);
    explicit Operator(const char *type);
    Operator(const std::string &name, const std::string &type);
    Operator(const char *name, const char *type);
    Operator(const AscendString &name, const AscendString &type);
    virtual ~Operator();
    std::string GetName() const;
    Status GetName(AscendString &name) const;
    std::string GetOpType() const;
    Status GetOpType(AscendString &type) const;
    Operator &SetInput(const char *name, const Operator &source);
    Operator &SetInput(const char *name, uint32_t output, const Operator &source);
    Operator &SetInput(const char *name, uint32_t index, const Operator &source,
                       const char *output);
    Operator &SetInput(const std::string &name, const Operator &source);
    Operator &SetInput(const std::string &name, const Operator &source, const std::string &output);
    Operator &AddControlInput(const Operator &source);
    Status UpdateOutputDesc(const char *name, const TensorDesc &desc);
    Status UpdateOutputDesc(const std::string &name, const TensorDesc &desc);
    TensorDesc GetOutputDesc(const std::string &name) const;
    TensorDesc GetOutputDesc(uint32_t index) const;
    Operator &SetAttr(const char *name, int64_t value);
    Operator &SetAttr(const std::string &name, int64_t value);
    void AttrRegister(const char *name, int64_t value);
    Status GetAttr(const char *name, int64_t &value) const;
    int GetDynamicOutputNum(const std::string &name) const;
    void DynamicOutputRegister(const char *name, unsigned int number, bool push_back);
    void DynamicOutputRegister(const char *name, unsigned int number, const char *type,
                               bool push_back);

   private:
    friend class Graph;
    Operator &after(const Operator &source);
    std::shared_ptr<OperatorImpl> impl;
};

class OperatorFactory {
   public:
    static Operator CreateOperator(const std::string &name, const std::string &type);
    static Operator CreateOperator(const char *name, const char *type);
    static bool IsExistOp(const std::string &type);
    static bool IsExistOp(const char *type);
};

class GNode {
   public:
    std::shared_ptr<void> impl;
};

class Graph {
   public:
    explicit Graph(const std::string &name);
    explicit Graph(const char *name);
    const std::string &GetName() const;
    Graph &SetInputs(const std::vector<Operator> &inputs);
    Graph &SetOutputs(const std::vector<Operator> &outputs);
    Graph &SetOutputs(const std::vector<std::pair<Operator, std::string>> &outputs);
    std::vector<GNode> GetDirectNode() const;
    const std::vector<std::shared_ptr<OperatorImpl>> &operators() const;

   private:
    struct Facts;
    std::shared_ptr<Facts> facts;
};

class TensorType {
   public:
    TensorType(const std::initializer_list<DataType> &types);

   private:
    std::shared_ptr<void> impl;
};

class Promote {
   public:
    Promote(const std::initializer_list<const char *> &names);

   private:
    std::shared_ptr<void> impl;
};

class GraphBuffer {
   public:
    GraphBuffer();
    ~GraphBuffer();

   private:
    std::shared_ptr<void> impl;
};

class CompiledGraphSummary {
   public:
    bool IsStatic() const;
    Status GetConstMemorySize(size_t &bytes) const;
    Status GetFeatureMemorySize(size_t &bytes) const;
    Status GetFixedFeatureMemorySize(size_t &bytes) const;
    Status GetRefreshableFeatureMemorySize(size_t &bytes) const;
    Status GetFeatureMemoryBaseRefreshable(bool &can) const;
    Status GetStreamNum(size_t &number) const;
    Status GetEventNum(size_t &number) const;
};

class Session {
   public:
    explicit Session(const std::map<std::string, std::string> &options);
    ~Session();
    Status AddGraph(uint32_t number, const Graph &graph,
                    const std::map<std::string, std::string> &options);
    std::shared_ptr<CompiledGraphSummary> GetCompiledGraphSummary(uint32_t number);
    Status RunGraph(uint32_t number, const std::vector<Tensor> &inputs,
                    std::vector<Tensor> &outputs);
    Status RunGraphWithStreamAsync(uint32_t number, void *stream,
                                   const std::vector<Tensor> &inputs,
                                   std::vector<Tensor> &outputs);

   private:
    uint64_t number;  // and no more: the plugin makes the place for it
};
}  // namespace ge
