// Graphs of GE: MindSpore converts its graph into operators, adds it to a session and runs it.
#include <cstring>
#include <set>

#include "ge.h"
#include "stand_in.h"

namespace ge {
class OperatorImpl {
   public:
    std::string name, type;
    TensorDesc output;
    std::map<std::string, int64_t> attributes;  // those that are one number
    std::map<std::string, int> numbers;  // of the outputs of a kind, where a node says how many
};

// Operators in the order in which they were connected since a graph got its inputs, some of them
// several times: they are those of the next graph.
static std::vector<std::shared_ptr<OperatorImpl>> connected;

// --- operators ---

Operator::Operator(const std::string &name, const std::string &type)
    : impl(new OperatorImpl{name, type, TensorDesc(), {}, {}}) {}

Operator::Operator(const char *name, const char *type)
    : Operator(std::string(name ? name : ""), std::string(type ? type : "")) {}

Operator::Operator(const std::string &type) : Operator(type, type) {}

Operator::Operator(const char *type) : Operator(type, type) {}

Operator::Operator(const AscendString &name, const AscendString &type)
    : Operator(name.GetString(), type.GetString()) {}

Operator::~Operator() {}

std::string Operator::GetName() const { return impl ? impl->name : ""; }

Status Operator::GetName(AscendString &name) const {
    name = AscendString(GetName().c_str());
    return 0;
}

std::string Operator::GetOpType() const { return impl ? impl->type : ""; }

Status Operator::GetOpType(AscendString &type) const {
    type = AscendString(GetOpType().c_str());
    return 0;
}

Operator &Operator::after(const Operator &source) {
    if (source.impl) connected.push_back(source.impl);
    if (impl) connected.push_back(impl);
    return *this;
}

Operator &Operator::SetInput(const char *, const Operator &source) { return after(source); }

Operator &Operator::SetInput(const char *, uint32_t, const Operator &source) {
    return after(source);
}

Operator &Operator::SetInput(const char *, uint32_t, const Operator &source, const char *) {
    return after(source);
}

Operator &Operator::SetInput(const std::string &, const Operator &source) { return after(source); }

Operator &Operator::SetInput(const std::string &, const Operator &source, const std::string &) {
    return after(source);
}

Operator &Operator::AddControlInput(const Operator &source) { return after(source); }

Status Operator::UpdateOutputDesc(const char *, const TensorDesc &desc) {
    if (impl) impl->output = desc;
    return 0;
}

Status Operator::UpdateOutputDesc(const std::string &, const TensorDesc &desc) {
    return UpdateOutputDesc("", desc);
}

TensorDesc Operator::GetOutputDesc(const std::string &) const {
    return impl ? impl->output : TensorDesc();
}

TensorDesc Operator::GetOutputDesc(uint32_t) const { return GetOutputDesc(std::string()); }

// The plugin sorts the inputs of a graph by an attribute of theirs.
Operator &Operator::SetAttr(const char *name, int64_t value) {
    impl->attributes[name] = value;
    return *this;
}

Operator &Operator::SetAttr(const std::string &name, int64_t value) {
    return SetAttr(name.c_str(), value);
}

void Operator::AttrRegister(const char *name, int64_t value) { SetAttr(name, value); }

Status Operator::GetAttr(const char *name, int64_t &value) const {
    auto found = impl->attributes.find(name);
    if (found == impl->attributes.end()) return 1;
    value = found->second;
    return 0;
}

// A tuple becomes an operator with as many outputs as it has parts: the plugin registers them, and
// counts them again when it connects what follows.
void Operator::DynamicOutputRegister(const char *name, unsigned int number, bool) {
    impl->numbers[name] += number;
}

void Operator::DynamicOutputRegister(const char *name, unsigned int number, const char *,
                                     bool push_back) {
    DynamicOutputRegister(name, number, push_back);
}

int Operator::GetDynamicOutputNum(const std::string &name) const {
    auto found = impl->numbers.find(name);
    return found == impl->numbers.end() ? 0 : found->second;
}

// --- which operators there are: all, as their list is CANN's and is not here ---

Operator OperatorFactory::CreateOperator(const std::string &name, const std::string &type) {
    return Operator(name, type);
}

Operator OperatorFactory::CreateOperator(const char *name, const char *type) {
    return Operator(name, type);
}

bool OperatorFactory::IsExistOp(const std::string &) { return true; }

bool OperatorFactory::IsExistOp(const char *) { return true; }

// --- graphs ---

struct Graph::Facts {
    std::string name;
    std::vector<std::shared_ptr<OperatorImpl>> operators;
};

Graph::Graph(const std::string &name) : facts(new Facts{name, {}}) {}

Graph::Graph(const char *name) : Graph(std::string(name)) {}

const std::string &Graph::GetName() const { return facts->name; }

Graph &Graph::SetInputs(const std::vector<Operator> &) {
    std::set<std::shared_ptr<OperatorImpl>> seen;
    for (const auto &one : connected)
        if (seen.insert(one).second) facts->operators.push_back(one);
    connected.clear();
    return *this;
}

Graph &Graph::SetOutputs(const std::vector<Operator> &) { return *this; }

Graph &Graph::SetOutputs(const std::vector<std::pair<Operator, std::string>> &) { return *this; }

std::vector<GNode> Graph::GetDirectNode() const { return {}; }

const std::vector<std::shared_ptr<OperatorImpl>> &Graph::operators() const {
    return facts->operators;
}

// --- sessions ---

// All shapes of this project are known when it is compiled.
bool CompiledGraphSummary::IsStatic() const { return true; }

Status CompiledGraphSummary::GetConstMemorySize(size_t &bytes) const { return bytes = 0; }

Status CompiledGraphSummary::GetFeatureMemorySize(size_t &bytes) const { return bytes = 0; }

Status CompiledGraphSummary::GetFixedFeatureMemorySize(size_t &bytes) const { return bytes = 0; }

Status CompiledGraphSummary::GetRefreshableFeatureMemorySize(size_t &bytes) const {
    return bytes = 0;
}

Status CompiledGraphSummary::GetFeatureMemoryBaseRefreshable(bool &can) const { return can = false; }

Status CompiledGraphSummary::GetStreamNum(size_t &number) const { return number = 0; }

Status CompiledGraphSummary::GetEventNum(size_t &number) const { return number = 0; }

Session::Session(const std::map<std::string, std::string> &) : number(0) {}

Session::~Session() {}

static std::string text_of(const TensorDesc &desc) {
    char text[128];
    auto dims = desc.GetShape().GetDims();
    describe_tensor(text, sizeof text, desc.GetDataType(), dims.data(), dims.size());
    return text;
}

// The only thing that a graph does, where that is a collective: "HcomAllReduce" or "HcomBroadcast".
static std::map<uint32_t, std::string> collectives;

static std::string only_work(const Graph &graph) {
    static const std::set<std::string> idle = {"Data",     "RefData",   "Constant", "Const",
                                               "Identity", "IdentityN", "NoOp",     "TensorMove"};
    std::string found;
    for (const auto &one : graph.operators()) {
        if (idle.count(one->type)) continue;
        if (!found.empty()) return "";
        found = one->type;
    }
    return found;
}

Status Session::AddGraph(uint32_t number, const Graph &graph,
                         const std::map<std::string, std::string> &options) {
    stand_in_log("GRAPH %u %s", number, graph.GetName().c_str());
    for (const auto &option : options)
        stand_in_log("OPTION %u %s=%s", number, option.first.c_str(), option.second.c_str());
    for (const auto &one : graph.operators())
        stand_in_log("NODE %u %s %s", number, one->type.c_str(), text_of(one->output).c_str());
    collectives[number] = only_work(graph);
    return 0;
}

std::shared_ptr<CompiledGraphSummary> Session::GetCompiledGraphSummary(uint32_t) {
    return std::make_shared<CompiledGraphSummary>();
}

// What ranks tell each other outside of the step has to arrive.
static bool exchange(const std::string &collective, Tensor input, Tensor &output) {
    auto type = output.GetTensorDesc().GetDataType();
    uint64_t count = output.GetSize() / type_size(type);
    if (collective == "HcomAllReduce")
        return reduce_in_graph(input.GetData(), output.GetData(), count, type);
    std::memmove(output.GetData(), input.GetData(), output.GetSize());
    return broadcast_in_graph(output.GetData(), count, type);
}

Status Session::RunGraph(uint32_t number, const std::vector<Tensor> &inputs,
                         std::vector<Tensor> &outputs) {
    stand_in_log("LAUNCH graph %u", number);
    auto &collective = collectives[number];
    if (collective == "HcomAllReduce" || collective == "HcomBroadcast")
        return exchange(collective, inputs[0], outputs[0]) ? 0 : 1;
    for (auto &output : outputs)
        note_result(output.GetData(), output.GetTensorDesc().GetDataType());
    return 0;
}

Status Session::RunGraphWithStreamAsync(uint32_t number, void *,
                                        const std::vector<Tensor> &inputs,
                                        std::vector<Tensor> &outputs) {
    return RunGraph(number, inputs, outputs);
}
}  // namespace ge

// --- options of the whole process ---

namespace ge {
Status GEInitialize(const std::map<std::string, std::string> &options) {
    for (const auto &option : options)
        stand_in_log("OPTION ge %s=%s", option.first.c_str(), option.second.c_str());
    return 0;
}
}  // namespace ge
