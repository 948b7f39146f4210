/**
 * Gradients by libtorch's own tape: what is recorded, what a leaf is, and the pass back.
 *
 * Grad mode is of a thread and off when the addon is loaded. Nothing here calls JavaScript.
 */
#include "core.h"

namespace millrace {

static Register grad{
    // flag: whether what follows is recorded
    {"record", [](Reader& reader, Writer&) { at::GradMode::set_enabled(reader.flag()); }},
    // tensor -> the same values, cut off from what made them
    {"detach", [](Reader& reader, Writer& writer) { writer.tensor(reader.tensor().detach()); }},
    // tensor -> another handle of the same tensor
    {"share", [](Reader& reader, Writer& writer) { writer.tensor(reader.tensor()); }},
    // tensor -> a leaf with the same values whose gradient is kept
    {"leaf",
     [](Reader& reader, Writer& writer) {
       at::Tensor leaf = reader.tensor().detach();
       leaf.set_requires_grad(true);
       writer.tensor(std::move(leaf));
     }},
    // leaf, flag: whether its gradient is kept from now on
    {"require",
     [](Reader& reader, Writer&) {
       at::Tensor leaf = reader.tensor();
       leaf.set_requires_grad(reader.flag());
     }},
    // tensor -> whether a gradient would reach it
    {"reached", [](Reader& reader, Writer& writer) { writer.number(reader.tensor().requires_grad() ? 1 : 0); }},
    // output, whether it may be asked again, whether its gradient is given, the gradient
    {"backward",
     [](Reader& reader, Writer&) {
       const at::Tensor output = reader.tensor();
       const bool again = reader.flag();
       const bool given = reader.flag();
       const at::AutoGradMode on(true);
       output.backward(given ? reader.tensor() : at::Tensor(), again);
     }},
    // leaf -> its gradient, which it forgets; nothing where it took no part
    {"takeGradient",
     [](Reader& reader, Writer& writer) {
       const at::Tensor& leaf = reader.tensor();
       at::Tensor gradient = leaf.grad();
       if (!gradient.defined()) return writer.nothing();
       leaf.mutable_grad().reset();
       writer.tensor(std::move(gradient));
     }},
};

}  // namespace millrace
