function top_customers(orders, count){
    const spent = {};
    for (const [name, amount] of orders) {
        spent[name] = (spent[name] ?? 0) + amount;
    }
    const names = Object.keys(spent).sort();
    names.sort((one, other) => spent[other] - spent[one]);
    return names.slice(0, count);
}
