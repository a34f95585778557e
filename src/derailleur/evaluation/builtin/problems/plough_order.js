function plough_order(field){
    const order = [];
    field.forEach((row, number) => {
        order.push(...(number % 2 === 0 ? row : [...row].reverse()));
    });
    return order;
}
